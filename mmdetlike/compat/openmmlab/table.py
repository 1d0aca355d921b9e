"""Which modules of ``mmcv`` and ``mmdet`` there are here, and where their names are found."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# the versions whose names these are; code that compares versions takes its newest branch
VERSIONS = {'mmcv': '2.1.0', 'mmdet': '3.3.0'}


@dataclass(frozen=True)
class Offer:
    """Where a module's names come from, in this order.

    Attributes:
        renamed: Names that are called otherwise here, as ``'module:name'``.
        sources: Modules of ours, all of whose public names it has.
        registries: Registries of ours, all of whose types it has.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    registries: tuple[str, ...] = ()


LAYERS = ('mmdetlike.models.layers', 'mmengine.model')
STRUCTURES = 'mmdetlike.structures'
TASK_MODULES = 'mmdetlike.models.task_modules'
# registries of 2.x, which have become one
MODELS_OF_2 = dict.fromkeys(
    ('BACKBONES', 'NECKS', 'ROI_EXTRACTORS', 'SHARED_HEADS', 'HEADS', 'LOSSES', 'DETECTORS'),
    'mmdetlike.registry:MODELS',
)
TASKS_OF_2 = dict.fromkeys(
    ('BBOX_ASSIGNERS', 'BBOX_SAMPLERS', 'BBOX_CODERS', 'PRIOR_GENERATORS', 'ANCHOR_GENERATORS', 'IOU_CALCULATORS'),
    'mmdetlike.registry:TASK_UTILS',
)
BUILDERS_OF_2 = {
    f'build_{part}': 'mmdetlike.registry:MODELS.build'
    for part in ('backbone', 'neck', 'roi_extractor', 'shared_head', 'head', 'loss', 'detector')
}
BUILDERS_OF_TASKS = {
    f'build_{part}': 'mmdetlike.registry:TASK_UTILS.build'
    for part in (
        'anchor_generator',
        'assigner',
        'bbox_coder',
        'iou_calculator',
        'match_cost',
        'prior_generator',
        'sampler',
    )
}
# registries of layers and of parts of transformers, and what builds of them
MODELS_OF_MMCV = dict.fromkeys(
    (
        *('ACTIVATION_LAYERS', 'CONV_LAYERS', 'NORM_LAYERS', 'PADDING_LAYERS', 'PLUGIN_LAYERS', 'UPSAMPLE_LAYERS'),
        *('ATTENTION', 'DROPOUT_LAYERS', 'FEEDFORWARD_NETWORK', 'POSITIONAL_ENCODING', 'TRANSFORMER_LAYER'),
        'TRANSFORMER_LAYER_SEQUENCE',
    ),
    'mmdetlike.registry:MODELS',
)
BUILDERS_OF_MMCV = {
    f'build_{part}': 'mmdetlike.registry:MODELS.build'
    for part in (
        *('attention', 'feedforward_network', 'positional_encoding', 'transformer_layer'),
        'transformer_layer_sequence',
    )
}


def _ours(module: str, *names: str) -> dict[str, str]:
    """Names of this package, by what they are called there."""
    return {name: f'mmdetlike.compat.openmmlab.{module}:{name}' for name in names}


IMAGES = _ours(
    'images',
    *('bgr2gray', 'bgr2rgb', 'imdenormalize', 'imflip', 'imfrombytes', 'imnormalize', 'impad', 'imread', 'imrescale'),
    *('imresize', 'imwrite', 'rgb2bgr'),
)
CLASS_NAMES = _ours('helpers', 'coco_classes', 'get_classes', 'voc_classes')
HELPERS = {
    **_ours(
        'helpers',
        *(
            'empty_instances',
            'filter_scores_and_topk',
            'levels_to_images',
            'mask2ndarray',
            'multi_apply',
            'reduce_mean',
        ),
        *('select_single_mlvl', 'unmap', 'unpack_gt_instances'),
    ),
    'images_to_levels': 'mmdetlike.models.task_modules.prior_generators:images_to_levels',
    'sigmoid_geometric_mean': 'mmdetlike.models.heads.dense.tood_head:geometric_mean_of_sigmoids',
}
SUPPRESSION = _ours('helpers', 'multiclass_nms')
MASKS = _ours('helpers', 'mask_target')
PRECISION = _ours('decorators', 'auto_fp16', 'force_fp32')
RANDOMNESS = _ours('decorators', 'avoid_cache_randomness', 'cache_randomness')
LOSS_FUNCTIONS = _ours(
    'functional_losses',
    *('bounded_iou_loss', 'ciou_loss', 'diou_loss', 'giou_loss', 'iou_loss', 'l1_loss', 'mse_loss'),
    *('quality_focal_loss', 'smooth_l1_loss'),
)
BASES = {
    'BaseAssigner': 'mmdetlike.models.task_modules.assigners.base_assigner:BaseAssigner',
    'BaseBBoxCoder': 'mmdetlike.models.task_modules.bbox_coder.base:BaseBBoxCoder',
    'BaseDenseHead': 'mmdetlike.models.heads.dense.base:DenseHead',
    'BaseDetector': 'mmdetlike.models.detectors.base:BaseDetector',
    'BaseRoIHead': 'mmdetlike.models.heads.roi:RoIHead',
}
BLOCKS = {name: f'mmdetlike.models.backbones.res_layer:{name}' for name in ('ResLayer', 'SimplifiedBasicBlock')}
TYPES = {
    f'{optional}{name}': f'mmdetlike.compat.openmmlab.typing:{optional}{name}'
    for name in ('ConfigType', 'MultiConfig', 'InstanceList', 'PixelList')
    for optional in ('', 'Opt')
}
MODELS = Offer(sources=('mmdetlike.models',), registries=('MODELS',))
TRANSFORMS = Offer(
    renamed={**RANDOMNESS, **_ours('helpers', 'to_tensor')},
    sources=('mmdetlike.datasets.transforms',),
    registries=('TRANSFORMS',),
)
TASK_UTILS = Offer(
    renamed={**BUILDERS_OF_TASKS, **{name: BASES[name] for name in ('BaseAssigner', 'BaseBBoxCoder')}},
    sources=(TASK_MODULES, f'{TASK_MODULES}.prior_generators'),
    registries=('TASK_UTILS',),
)
MMCV_CNN = Offer(
    renamed={**MODELS_OF_MMCV, 'get_model_complexity_info': 'mmengine.analysis:get_model_complexity_info'},
    sources=(*LAYERS, 'mmdetlike_ops'),
    registries=('MODELS',),
)
MMCV_OPS = Offer(sources=('mmdetlike_ops',))
DATASETS = Offer(
    renamed={
        'PIPELINES': 'mmdetlike.registry:TRANSFORMS',
        'DATASETS': 'mmdetlike.registry:DATASETS',
        'NumClassCheckHook': 'mmdetlike.engine.hooks:NumClassCheckHook',
        'build_dataset': 'mmdetlike.registry:DATASETS.build',
    },
    sources=('mmdetlike.datasets',),
    registries=('DATASETS', 'DATA_SAMPLERS'),
)
BOXES = Offer(renamed=_ours('decorators', 'autocast_box_type'), sources=(f'{STRUCTURES}.bbox',))
RUNNER_HOOKS = Offer(
    renamed={'HOOKS': 'mmdetlike.registry:HOOKS', **_ours('hooks', 'Hook')},
    sources=('mmengine.hooks',),
)
RUNNER = Offer(
    renamed={
        **PRECISION,
        **RUNNER_HOOKS.renamed,
        **_ours('running', 'build_optimizer', 'load_checkpoint'),
        'CheckpointLoader': 'mmengine.runner:CheckpointLoader',
        'DefaultOptimizerConstructor': 'mmengine.optim:DefaultOptimWrapperConstructor',
        'OPTIMIZERS': 'mmdetlike.registry:OPTIMIZERS',
        'OPTIMIZER_BUILDERS': 'mmdetlike.registry:OPTIM_WRAPPER_CONSTRUCTORS',
        'Priority': 'mmengine.runner:Priority',
        '_load_checkpoint': 'mmengine.runner.checkpoint:_load_checkpoint',
        '_load_checkpoint_with_prefix': 'mmengine.runner.checkpoint:_load_checkpoint_with_prefix',
        'allreduce_params': 'mmengine.dist:all_reduce_params',
        'get_priority': 'mmengine.runner:get_priority',
        'get_state_dict': 'mmengine.runner.checkpoint:get_state_dict',
        'load_state_dict': 'mmengine.runner.checkpoint:load_state_dict',
        'save_checkpoint': 'mmengine.runner.checkpoint:save_checkpoint',
        'set_random_seed': 'mmengine.runner:set_random_seed',
        'weights_to_cpu': 'mmengine.runner.checkpoint:weights_to_cpu',
    },
    sources=('mmengine.model', 'mmengine.dist', 'mmengine.hooks'),
)
PARALLEL = Offer(
    renamed={
        **_ours('parallel', 'DataContainer', 'MMDataParallel', 'collate', 'scatter'),
        'MMDistributedDataParallel': 'mmengine.model:MMDistributedDataParallel',
        'MODULE_WRAPPERS': 'mmengine.registry:MODEL_WRAPPERS',
        'is_module_wrapper': 'mmengine.model:is_model_wrapper',
    }
)
APIS = Offer(
    renamed={
        **_ours('helpers', 'get_root_logger'),
        **_ours('running', 'init_random_seed'),
        'set_random_seed': 'mmengine.runner:set_random_seed',
    },
    sources=('mmdetlike.apis',),
)

MODULES: dict[str, Offer] = {
    'mmcv': Offer(renamed={**IMAGES, **_ours('decorators', 'jit')}, sources=('mmengine',)),
    'mmcv.image': Offer(renamed=IMAGES),
    'mmcv.cnn': MMCV_CNN,
    'mmcv.cnn.bricks': MMCV_CNN,
    'mmcv.cnn.bricks.drop': MMCV_CNN,
    'mmcv.cnn.bricks.registry': Offer(renamed=MODELS_OF_MMCV),
    'mmcv.cnn.bricks.transformer': Offer(
        renamed=BUILDERS_OF_MMCV, sources=('mmdetlike.models.layers.transformer', *LAYERS), registries=('MODELS',)
    ),
    'mmcv.cnn.utils': Offer(sources=LAYERS),
    'mmcv.cnn.utils.weight_init': Offer(sources=LAYERS),
    'mmcv.ops': MMCV_OPS,
    'mmcv.ops.deform_conv': MMCV_OPS,
    'mmcv.ops.deform_roi_pool': MMCV_OPS,
    'mmcv.ops.focal_loss': MMCV_OPS,
    'mmcv.ops.modulated_deform_conv': MMCV_OPS,
    'mmcv.ops.multi_scale_deform_attn': MMCV_OPS,
    'mmcv.ops.sync_bn': MMCV_OPS,
    'mmcv.transforms': TRANSFORMS,
    'mmcv.transforms.base': TRANSFORMS,
    'mmcv.transforms.utils': Offer(renamed=RANDOMNESS),
    # of 1.x
    'mmcv.parallel': PARALLEL,
    **{
        f'mmcv.parallel.{file}': PARALLEL
        for file in ('data_parallel', 'distributed', 'registry', 'scatter_gather', 'utils')
    },
    'mmcv.runner': RUNNER,
    **{
        f'mmcv.runner.{file}': RUNNER
        for file in (
            *('base_module', 'base_runner', 'builder', 'checkpoint', 'dist_utils', 'epoch_based_runner', 'fp16_utils'),
            *('iter_based_runner', 'optimizer', 'utils'),
        )
    },
    'mmcv.runner.hooks': RUNNER_HOOKS,
    **{f'mmcv.runner.hooks.{file}': RUNNER_HOOKS for file in ('checkpoint', 'evaluation', 'lr_updater', 'optimizer')},
    'mmcv.utils': Offer(
        renamed={
            'Registry': 'mmengine.registry:Registry',
            'build_from_cfg': 'mmengine.registry:build_from_cfg',
            'get_logger': 'mmdetlike.compat.openmmlab.helpers:get_root_logger',
        },
        sources=('mmengine.config', 'mmengine.utils', 'mmengine.utils.dl_utils', 'mmengine.logging'),
    ),
    'mmdet': Offer(),
    'mmdet.apis': APIS,
    **{f'mmdet.apis.{file}': APIS for file in ('inference', 'test', 'train')},
    'mmdet.version': Offer(),
    'mmdet.registry': Offer(
        renamed={'RUNNER_CONSTRUCTORS': 'mmengine.registry:RUNNER_CONSTRUCTORS'}, sources=('mmdetlike.registry',)
    ),
    'mmdet.utils': Offer(
        renamed={
            **{name: f'{STRUCTURES}:{name}' for name in ('OptSampleList', 'SampleList')},
            **TYPES,
            **_ours('helpers', 'get_root_logger', 'reduce_mean', 'setup_cache_size_limit_of_dynamo'),
            'collect_env': 'mmengine.utils.dl_utils:collect_env',
            'find_latest_checkpoint': 'mmdetlike.utils.checkpoint:find_latest_checkpoint',
            'get_device': 'mmengine.device:get_device',
        },
        sources=('mmdetlike.utils',),
    ),
    'mmdet.structures': Offer(sources=(STRUCTURES,)),
    'mmdet.structures.bbox': BOXES,
    'mmdet.structures.bbox.box_type': BOXES,
    'mmdet.structures.bbox.transforms': BOXES,
    'mmdet.structures.mask': Offer(renamed=MASKS, sources=(f'{STRUCTURES}.mask',)),
    'mmdet.structures.mask.mask_target': Offer(renamed=MASKS),
    'mmdet.structures.mask.structures': Offer(sources=(f'{STRUCTURES}.mask',)),
    'mmdet.models': Offer(
        renamed={**MODELS_OF_2, **BUILDERS_OF_2, **BASES}, sources=MODELS.sources, registries=('MODELS',)
    ),
    'mmdet.models.builder': Offer(renamed={**MODELS_OF_2, **BUILDERS_OF_2}),
    'mmdet.models.backbones': Offer(sources=('mmdetlike.models.backbones',), registries=('MODELS',)),
    'mmdet.models.backbones.resnet': Offer(
        renamed={
            name: f'mmdetlike.models.backbones.resnet:{name}'
            for name in ('BasicBlock', 'Bottleneck', 'ResNet', 'ResNetV1d')
        }
    ),
    'mmdet.models.necks': Offer(sources=('mmdetlike.models.necks',), registries=('MODELS',)),
    'mmdet.models.dense_heads': Offer(
        renamed={'BaseDenseHead': BASES['BaseDenseHead']},
        sources=('mmdetlike.models.heads.dense', 'mmdetlike.models.heads.query'),
        registries=('MODELS',),
    ),
    'mmdet.models.roi_heads': Offer(
        renamed={'BaseRoIHead': BASES['BaseRoIHead']}, sources=('mmdetlike.models.heads.roi',), registries=('MODELS',)
    ),
    'mmdet.models.roi_heads.bbox_heads': Offer(
        sources=('mmdetlike.models.heads.roi.bbox_heads',), registries=('MODELS',)
    ),
    'mmdet.models.roi_heads.mask_heads': Offer(
        sources=('mmdetlike.models.heads.roi.mask_heads',), registries=('MODELS',)
    ),
    'mmdet.models.roi_heads.roi_extractors': Offer(
        sources=('mmdetlike.models.heads.roi.roi_extractors',), registries=('MODELS',)
    ),
    'mmdet.models.roi_heads.shared_heads': MODELS,
    'mmdet.models.seg_heads': Offer(sources=('mmdetlike.models.heads.semantic',), registries=('MODELS',)),
    'mmdet.models.detectors': Offer(sources=('mmdetlike.models.detectors',), registries=('MODELS',)),
    'mmdet.models.detectors.base': Offer(sources=('mmdetlike.models.detectors',)),
    'mmdet.models.detectors.single_stage': Offer(sources=('mmdetlike.models.detectors',)),
    'mmdet.models.detectors.two_stage': Offer(sources=('mmdetlike.models.detectors',)),
    'mmdet.models.data_preprocessors': Offer(sources=('mmdetlike.models.data_preprocessors',)),
    'mmdet.models.layers': Offer(
        renamed={**BLOCKS, **SUPPRESSION}, sources=('mmdetlike.models.layers',), registries=('MODELS',)
    ),
    'mmdet.models.layers.bbox_nms': Offer(renamed=SUPPRESSION),
    'mmdet.models.layers.transformer': Offer(sources=('mmdetlike.models.layers.transformer',)),
    'mmdet.models.losses': Offer(renamed=LOSS_FUNCTIONS, sources=('mmdetlike.models.losses',), registries=('MODELS',)),
    'mmdet.models.losses.utils': Offer(sources=('mmdetlike.models.losses',)),
    'mmdet.models.task_modules': TASK_UTILS,
    'mmdet.models.task_modules.assigners': TASK_UTILS,
    'mmdet.models.task_modules.assigners.iou2d_calculator': TASK_UTILS,
    'mmdet.models.task_modules.coders': TASK_UTILS,
    'mmdet.models.task_modules.prior_generators': TASK_UTILS,
    'mmdet.models.task_modules.samplers': TASK_UTILS,
    'mmdet.models.test_time_augs': MODELS,
    'mmdet.models.utils': Offer(renamed={**HELPERS, **BLOCKS}, sources=('mmdetlike.models.utils',)),
    'mmdet.models.utils.misc': Offer(renamed=HELPERS, sources=('mmdetlike.models.utils',)),
    'mmdet.datasets': DATASETS,
    'mmdet.datasets.api_wrappers': Offer(
        renamed={'COCO': 'faster_coco_eval:COCO', 'COCOeval': 'faster_coco_eval:COCOeval_faster'}
    ),
    **{
        f'mmdet.datasets.{file}': DATASETS
        for file in ('builder', 'coco', 'custom', 'dataset_wrappers', 'lvis', 'openimages', 'voc', 'xml_style')
    },
    'mmdet.datasets.transforms': TRANSFORMS,
    'mmdet.datasets.transforms.transforms': TRANSFORMS,
    'mmdet.datasets.transforms.loading': TRANSFORMS,
    'mmdet.datasets.transforms.formatting': TRANSFORMS,
    'mmdet.datasets.samplers': Offer(sources=('mmdetlike.datasets',), registries=('DATA_SAMPLERS',)),
    'mmdet.datasets.pipelines': TRANSFORMS,  # of 2.x
    'mmdet.engine': Offer(),
    'mmdet.engine.hooks': Offer(sources=('mmdetlike.engine.hooks',), registries=('HOOKS',)),
    'mmdet.engine.optimizers': Offer(registries=('OPTIM_WRAPPER_CONSTRUCTORS',)),
    'mmdet.engine.runner': Offer(registries=('LOOPS',)),
    'mmdet.engine.schedulers': Offer(sources=('mmdetlike.engine.schedulers',)),
    'mmdet.evaluation': Offer(
        renamed=CLASS_NAMES,
        sources=('mmdetlike.evaluation', 'mmdetlike.evaluation.functional'),
        registries=('METRICS',),
    ),
    'mmdet.evaluation.metrics': Offer(sources=('mmdetlike.evaluation.metrics',), registries=('METRICS',)),
    'mmdet.evaluation.functional': Offer(renamed=CLASS_NAMES, sources=('mmdetlike.evaluation.functional',)),
    'mmdet.visualization': Offer(sources=('mmdetlike.visualization',)),
    # of 2.x: what is below it has no counterpart of its own
    'mmdet.core': Offer(
        renamed={
            **TASKS_OF_2,
            **BUILDERS_OF_TASKS,
            **HELPERS,
            **SUPPRESSION,
            **MASKS,
            **PRECISION,
            **CLASS_NAMES,
            **{name: BASES[name] for name in ('BaseAssigner', 'BaseBBoxCoder')},
        },
        sources=(
            STRUCTURES,
            f'{STRUCTURES}.bbox',
            f'{STRUCTURES}.mask',
            'mmdetlike.models.utils',
            TASK_MODULES,
            f'{TASK_MODULES}.prior_generators',
            'mmdetlike.evaluation.functional',
        ),
        registries=('TASK_UTILS',),
    ),
    **{
        f'mmdet.core.{part}': Offer(
            renamed={**TASKS_OF_2, **TASK_UTILS.renamed},
            sources=(f'{STRUCTURES}.bbox', *TASK_UTILS.sources),
            registries=('TASK_UTILS',),
        )
        for part in (
            *(
                'anchor',
                'anchor.builder',
                'bbox',
                'bbox.assigners',
                'bbox.builder',
                'bbox.coder',
                'bbox.iou_calculators',
            ),
            *('bbox.match_costs', 'bbox.samplers', 'bbox.transforms'),
        )
    },
    'mmdet.core.evaluation': Offer(renamed=CLASS_NAMES, sources=('mmdetlike.evaluation.functional',)),
    'mmdet.core.evaluation.eval_hooks': Offer(),
    'mmdet.core.mask': Offer(renamed=MASKS, sources=(f'{STRUCTURES}.mask',)),
    'mmdet.core.post_processing': Offer(renamed=SUPPRESSION),
    'mmdet.core.utils': Offer(renamed=HELPERS),
}
