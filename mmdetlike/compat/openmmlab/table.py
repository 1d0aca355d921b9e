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
IMAGES = {
    'imread': 'mmdetlike.compat.openmmlab.images:imread',
    'imwrite': 'mmdetlike.compat.openmmlab.images:imwrite',
}
HELPERS = {
    name: f'mmdetlike.compat.openmmlab.helpers:{name}'
    for name in (
        'filter_scores_and_topk',
        'multi_apply',
        'reduce_mean',
        'select_single_mlvl',
        'unmap',
        'unpack_gt_instances',
    )
}
TYPES = {
    f'{optional}{name}': f'mmdetlike.compat.openmmlab.typing:{optional}{name}'
    for name in ('ConfigType', 'MultiConfig', 'InstanceList', 'PixelList')
    for optional in ('', 'Opt')
}
MODELS = Offer(sources=('mmdetlike.models',), registries=('MODELS',))
TRANSFORMS = Offer(sources=('mmdetlike.datasets.transforms',), registries=('TRANSFORMS',))
TASK_UTILS = Offer(sources=(TASK_MODULES,), registries=('TASK_UTILS',))

MODULES: dict[str, Offer] = {
    'mmcv': Offer(renamed=IMAGES, sources=('mmengine',)),
    'mmcv.image': Offer(renamed=IMAGES),
    'mmcv.cnn': Offer(sources=(*LAYERS, 'mmdetlike_ops')),
    'mmcv.cnn.bricks': Offer(sources=(*LAYERS, 'mmdetlike_ops')),
    'mmcv.cnn.bricks.transformer': Offer(sources=('mmdetlike.models.layers.transformer', *LAYERS)),
    'mmcv.cnn.utils': Offer(sources=LAYERS),
    'mmcv.ops': Offer(sources=('mmdetlike_ops',)),
    'mmcv.ops.multi_scale_deform_attn': Offer(sources=('mmdetlike_ops',)),
    'mmcv.ops.modulated_deform_conv': Offer(sources=('mmdetlike_ops',)),
    'mmcv.ops.focal_loss': Offer(sources=('mmdetlike_ops',)),
    'mmcv.transforms': TRANSFORMS,
    # of 1.x
    'mmcv.runner': Offer(
        renamed={'load_checkpoint': 'mmengine.runner:load_checkpoint'}, sources=('mmengine.model', 'mmengine.dist')
    ),
    'mmcv.utils': Offer(
        renamed={'Registry': 'mmengine.registry:Registry', 'build_from_cfg': 'mmengine.registry:build_from_cfg'},
        sources=('mmengine.config', 'mmengine.utils'),
    ),
    'mmdet': Offer(),
    'mmdet.apis': Offer(sources=('mmdetlike.apis',)),
    'mmdet.registry': Offer(sources=('mmdetlike.registry',)),
    'mmdet.utils': Offer(
        renamed={
            **{name: f'{STRUCTURES}:{name}' for name in ('OptSampleList', 'SampleList')},
            **TYPES,
            'reduce_mean': HELPERS['reduce_mean'],
        },
        sources=('mmdetlike.utils',),
    ),
    'mmdet.structures': Offer(sources=(STRUCTURES,)),
    'mmdet.structures.bbox': Offer(sources=(f'{STRUCTURES}.bbox',)),
    'mmdet.structures.bbox.transforms': Offer(sources=(f'{STRUCTURES}.bbox',)),
    'mmdet.structures.mask': Offer(sources=(f'{STRUCTURES}.mask',)),
    'mmdet.structures.mask.structures': Offer(sources=(f'{STRUCTURES}.mask',)),
    'mmdet.models': Offer(renamed={**MODELS_OF_2, **BUILDERS_OF_2}, sources=MODELS.sources, registries=('MODELS',)),
    'mmdet.models.builder': Offer(renamed={**MODELS_OF_2, **BUILDERS_OF_2}),
    'mmdet.models.backbones': Offer(sources=('mmdetlike.models.backbones',), registries=('MODELS',)),
    'mmdet.models.necks': Offer(sources=('mmdetlike.models.necks',), registries=('MODELS',)),
    'mmdet.models.dense_heads': Offer(
        sources=('mmdetlike.models.heads.dense', 'mmdetlike.models.heads.query'), registries=('MODELS',)
    ),
    'mmdet.models.dense_heads.base_dense_head': Offer(
        renamed={'BaseDenseHead': 'mmdetlike.models.heads.dense.base:DenseHead'}
    ),
    'mmdet.models.roi_heads': Offer(sources=('mmdetlike.models.heads.roi',), registries=('MODELS',)),
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
    'mmdet.models.layers': Offer(sources=('mmdetlike.models.layers',), registries=('MODELS',)),
    'mmdet.models.layers.transformer': Offer(sources=('mmdetlike.models.layers.transformer',)),
    'mmdet.models.losses': Offer(sources=('mmdetlike.models.losses',), registries=('MODELS',)),
    'mmdet.models.losses.utils': Offer(sources=('mmdetlike.models.losses',)),
    'mmdet.models.task_modules': TASK_UTILS,
    'mmdet.models.task_modules.assigners': TASK_UTILS,
    'mmdet.models.task_modules.coders': TASK_UTILS,
    'mmdet.models.task_modules.prior_generators': TASK_UTILS,
    'mmdet.models.task_modules.samplers': TASK_UTILS,
    'mmdet.models.test_time_augs': MODELS,
    'mmdet.models.utils': Offer(renamed=HELPERS, sources=('mmdetlike.models.utils',)),
    'mmdet.models.utils.misc': Offer(renamed=HELPERS, sources=('mmdetlike.models.utils',)),
    'mmdet.datasets': Offer(
        renamed={'PIPELINES': 'mmdetlike.registry:TRANSFORMS', 'DATASETS': 'mmdetlike.registry:DATASETS'},
        sources=('mmdetlike.datasets',),
        registries=('DATASETS', 'DATA_SAMPLERS'),
    ),
    'mmdet.datasets.builder': Offer(
        renamed={'PIPELINES': 'mmdetlike.registry:TRANSFORMS', 'DATASETS': 'mmdetlike.registry:DATASETS'}
    ),
    'mmdet.datasets.base_det_dataset': Offer(sources=('mmdetlike.datasets',)),
    'mmdet.datasets.transforms': TRANSFORMS,
    'mmdet.datasets.transforms.transforms': TRANSFORMS,
    'mmdet.datasets.transforms.loading': TRANSFORMS,
    'mmdet.datasets.transforms.formatting': TRANSFORMS,
    'mmdet.datasets.samplers': Offer(sources=('mmdetlike.datasets',), registries=('DATA_SAMPLERS',)),
    'mmdet.datasets.pipelines': TRANSFORMS,  # of 2.x
    'mmdet.engine': Offer(),
    'mmdet.engine.hooks': Offer(sources=('mmdetlike.engine.hooks',), registries=('HOOKS',)),
    'mmdet.engine.schedulers': Offer(sources=('mmdetlike.engine.schedulers',)),
    'mmdet.evaluation': Offer(sources=('mmdetlike.evaluation',), registries=('METRICS',)),
    'mmdet.evaluation.metrics': Offer(sources=('mmdetlike.evaluation.metrics',), registries=('METRICS',)),
    'mmdet.evaluation.functional': Offer(sources=('mmdetlike.evaluation.functional',)),
    'mmdet.visualization': Offer(sources=('mmdetlike.visualization',)),
    # of 2.x: what is below it has no counterpart of its own
    'mmdet.core': Offer(
        renamed={**TASKS_OF_2, **HELPERS},
        sources=(
            STRUCTURES,
            f'{STRUCTURES}.bbox',
            f'{STRUCTURES}.mask',
            'mmdetlike.models.utils',
            'mmdetlike.evaluation.functional',
        ),
        registries=('TASK_UTILS',),
    ),
    'mmdet.core.bbox.builder': Offer(renamed=TASKS_OF_2),
    'mmdet.core.bbox': Offer(renamed=TASKS_OF_2, sources=(f'{STRUCTURES}.bbox',), registries=('TASK_UTILS',)),
}
