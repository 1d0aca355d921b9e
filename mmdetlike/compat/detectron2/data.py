"""Data of a Detectron2 config: named data sets, what is done to pictures, what is evaluated."""

from collections.abc import Callable, Mapping, Sequence

from mmdetlike.datasets.class_names import ADE20K
from mmdetlike.datasets.coco_kin import CityscapesDataset
from mmdetlike.datasets.coco_panoptic import CocoPanopticDataset
from mmdetlike.errors import ConfigError

from .deeplab import IGNORED
from .project_defaults import PANOPTIC_DEEPLAB, is_deeplab
from .zoo import zoo_address

COCO_ROOT = 'data/coco/'
CITYSCAPES_THINGS = CityscapesDataset.METAINFO['classes']
CITYSCAPES_STUFF = (
    *('road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign'),
    *('vegetation', 'terrain', 'sky'),
)
META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
REPEATING = 'RepeatFactorTrainingSampler'


def train_dataloader(cfg: Mapping) -> dict:
    """What is learned from."""
    datasets = _with_proposals(cfg, 'TRAIN')
    return dict(
        batch_size=cfg['SOLVER']['IMS_PER_BATCH'],
        num_workers=cfg['DATALOADER']['NUM_WORKERS'],
        sampler=_sampler(cfg['DATALOADER']),
        **_grouping(cfg, datasets),
        dataset=_joined(
            dict(dataset, filter_cfg=_filter(cfg), pipeline=_training_pipeline(cfg)) for dataset in datasets
        ),
    )


def test_dataloader(cfg: Mapping) -> dict:
    """What is tested on, one picture at a time."""
    scale = (cfg['INPUT']['MAX_SIZE_TEST'], cfg['INPUT']['MIN_SIZE_TEST'])
    load_image, *others = predicting_pipeline(scale, _loading(cfg))
    pipeline = [load_image, *_proposal_loading(cfg, 'TEST'), *others]
    return dict(
        batch_size=1,
        num_workers=cfg['DATALOADER']['NUM_WORKERS'],
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=_joined(dict(dataset, test_mode=True, pipeline=pipeline) for dataset in _with_proposals(cfg, 'TEST')),
    )


def predicting_pipeline(scale: tuple[int, int], loading: dict | None = None) -> list[dict]:
    """Load a picture, resize it into ``scale`` (longest and shortest side) and pack it."""
    load_annotations = [] if loading is None else [loading]
    return [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=scale, keep_ratio=True),
        *load_annotations,
        dict(type='PackDetInputs', meta_keys=META_KEYS),
    ]


def _grouping(cfg: Mapping, datasets: Sequence[Mapping]) -> dict:
    """Batches of pictures that are all wide or all high, where the annotations say which size pictures have."""
    sizes_are_known = all(dataset['type'] != 'BaseSegDataset' for dataset in datasets)
    if not cfg['DATALOADER']['ASPECT_RATIO_GROUPING'] or not sizes_are_known:
        return {}
    return dict(batch_sampler=dict(type='AspectRatioBatchSampler'))


def _sampler(settings: Mapping) -> dict:
    if settings['SAMPLER_TRAIN'] == REPEATING:
        return dict(type='RepeatFactorSampler', oversample_thr=settings['REPEAT_THRESHOLD'])
    return dict(type='InfiniteSampler', shuffle=True)


def _filter(cfg: Mapping) -> dict:
    chosen = dict(filter_empty_gt=cfg['DATALOADER']['FILTER_EMPTY_ANNOTATIONS'])
    if cfg['MODEL']['KEYPOINT_ON']:
        chosen['min_keypoints'] = cfg['MODEL']['ROI_KEYPOINT_HEAD']['MIN_KEYPOINTS_PER_IMAGE']
    return chosen


def _training_pipeline(cfg: Mapping) -> list[dict]:
    inputs = cfg['INPUT']
    if 'LARGE_SCALE_JITTER' in inputs:
        return _jittering_pipeline(cfg, inputs['LARGE_SCALE_JITTER'])
    scales = [(inputs['MAX_SIZE_TRAIN'], side) for side in inputs['MIN_SIZE_TRAIN']]
    resize = dict(type='RandomChoiceResize', scales=scales, keep_ratio=True)
    # the shorter side is one of these, or lies between the two
    if inputs['MIN_SIZE_TRAIN_SAMPLING'] == 'range':
        resize = dict(type='RandomResize', scale=scales, keep_ratio=True)
    crop = _crop(inputs['CROP'])
    flip = (
        [] if inputs['RANDOM_FLIP'] == 'none' else [dict(type='RandomFlip', prob=0.5, direction=inputs['RANDOM_FLIP'])]
    )
    return [
        dict(type='LoadImageFromFile'),
        *_proposal_loading(cfg, 'TRAIN'),
        _loading(cfg),
        # DeepLab's projects crop what is resized, to one size
        *((resize, *crop) if is_deeplab(cfg) else (*crop, resize)),
        *flip,
        dict(type='PackDetInputs'),
    ]


def _jittering_pipeline(cfg: Mapping, settings: Mapping) -> list[dict]:
    """Large-scale jittering (Simple Copy-Paste, arXiv 2012.07177): pictures of one size, whose scale varies widely."""
    size = (settings['SIZE'], settings['SIZE'])
    return [
        dict(type='LoadImageFromFile'),
        _loading(cfg),
        dict(type='RandomResize', scale=size, ratio_range=tuple(settings['SCALES']), keep_ratio=True),
        dict(type='FixedSizeCrop', crop_size=size),
        dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        # of what a crop left
        dict(type='BoxesFromMasks'),
        dict(type='PackDetInputs'),
    ]


def _crop(settings: Mapping) -> list[dict]:
    if not settings['ENABLED']:
        return []
    # theirs says height and width
    size = tuple(settings['SIZE'])[::-1]
    largest = settings.get('SINGLE_CATEGORY_MAX_AREA', 1.0)
    if largest < 1:
        mixed = dict(single_category_max_area=largest, ignored_category=IGNORED)
        return [dict(type='CategoryAreaCrop', crop_size=size, crop_type=settings['TYPE'], **mixed)]
    return [dict(type='RandomCrop', crop_size=size, crop_type=settings['TYPE'], allow_negative_crop=True)]


def _loading(cfg: Mapping) -> dict:
    model = cfg['MODEL']
    if model['META_ARCHITECTURE'] in PANOPTIC:
        return dict(type='LoadPanopticAnnotations')
    if model['META_ARCHITECTURE'] == 'SemanticSegmentor':
        return dict(type='LoadAnnotations', with_bbox=False, with_seg=True)
    extra = dict(with_mask=True) if model['MASK_ON'] else {}
    if model['KEYPOINT_ON']:
        extra['with_keypoints'] = True
    return dict(type='LoadAnnotations', with_bbox=True, **extra)


def uses_proposal_files(model: Mapping) -> bool:
    """Whether regions come from files that data sets have, and not from the model."""
    return model['LOAD_PROPOSALS'] and model['PROPOSAL_GENERATOR']['NAME'] == 'PrecomputedProposals'


def _proposal_loading(cfg: Mapping, phase: str) -> list[dict]:
    if not uses_proposal_files(cfg['MODEL']):
        return []
    return [dict(type='LoadProposals', num_max_proposals=cfg['DATASETS'][f'PRECOMPUTED_PROPOSAL_TOPK_{phase}'])]


def _with_proposals(cfg: Mapping, phase: str) -> list[dict]:
    """The data sets of ``'TRAIN'`` or ``'TEST'``, each with its file of proposals where the model needs some.

    Raises:
        ConfigError: There is not one file for each.
    """
    datasets = named_datasets(cfg, phase)
    if not uses_proposal_files(cfg['MODEL']):
        return datasets
    files = list(cfg['DATASETS'][f'PROPOSAL_FILES_{phase}'])
    if len(files) != len(datasets):
        raise ConfigError(
            f'DATASETS.PROPOSAL_FILES_{phase} is {files} with PrecomputedProposals: expected one file for each of '
            f'DATASETS.{phase} {list(cfg["DATASETS"][phase])}'
        )
    return [dict(dataset, proposal_file=zoo_address(file)) for dataset, file in zip(datasets, files)]


def _joined(datasets) -> dict:
    """One dataset, or several one after the other."""
    first, *others = datasets
    if not others:
        return first
    # that of VOC names its year
    return dict(type='ConcatDataset', ignore_keys=['dataset_type'], datasets=[first, *others])


# -- named data sets ---------------------------------------------------------------------------------------------------


def _coco(name: str, part: str, kind: str = 'instances') -> dict:
    return dict(
        type='CocoDataset',
        data_root=COCO_ROOT,
        ann_file=f'annotations/{kind}_{part}2017.json',
        data_prefix=dict(img=f'{part}2017/'),
    )


def _coco_keypoints(name: str, part: str) -> dict:
    return dict(_coco(name, part, 'person_keypoints'), metainfo=dict(classes=('person',)))


def _coco_panoptic(name: str, part: str) -> dict:
    return dict(
        type='CocoPanopticDataset',
        data_root=COCO_ROOT,
        ann_file=f'annotations/panoptic_{part}2017.json',
        data_prefix=dict(img=f'{part}2017/', seg=f'annotations/panoptic_{part}2017/'),
    )


def _coco_stuff(name: str, part: str) -> dict:
    # the label maps that Detectron2's script makes of panoptic ones, in which all things are class 0
    return dict(
        type='BaseSegDataset',
        data_root=COCO_ROOT,
        data_prefix=dict(img_path=f'{part}2017/', seg_map_path=f'panoptic_stuff_{part}2017/'),
        metainfo=dict(classes=('things', *CocoPanopticDataset.METAINFO['stuff_classes'])),
    )


def _cityscapes_semantic(name: str, part: str) -> dict:
    # the label maps of its own script, which number the 19 classes that are evaluated
    return dict(
        type='BaseSegDataset',
        data_root='data/cityscapes/',
        data_prefix=dict(img_path=f'leftImg8bit/{part}/', seg_map_path=f'gtFine/{part}/'),
        img_suffix='_leftImg8bit.png',
        seg_map_suffix='_gtFine_labelTrainIds.png',
        metainfo=dict(classes=(*CITYSCAPES_STUFF, *CITYSCAPES_THINGS)),
    )


def _cityscapes_panoptic(name: str, part: str) -> dict:
    classes = dict(thing_classes=CITYSCAPES_THINGS, stuff_classes=CITYSCAPES_STUFF)
    return dict(
        type='CocoPanopticDataset',
        data_root='data/cityscapes/',
        ann_file=f'gtFine/cityscapes_panoptic_{part}.json',
        data_prefix=dict(img=f'leftImg8bit/{part}/', seg=f'gtFine/cityscapes_panoptic_{part}/'),
        metainfo=dict(classes=(*CITYSCAPES_THINGS, *CITYSCAPES_STUFF), **classes),
    )


def _ade20k(name: str, part: str) -> dict:
    # the label maps that Detectron2's script makes, whose classes begin with 0
    folder = 'training' if part == 'train' else 'validation'
    return dict(
        type='BaseSegDataset',
        data_root='data/ADEChallengeData2016/',
        data_prefix=dict(img_path=f'images/{folder}/', seg_map_path=f'annotations_detectron2/{folder}/'),
        metainfo=dict(classes=ADE20K),
    )


def _lvis(name: str, part: str) -> dict:
    # these files say in which of COCO's folders a picture is
    is_first = name.startswith('lvis_v1')
    return dict(
        type='LVISV1Dataset' if is_first else 'LVISV05Dataset',
        data_root='data/lvis_v1/' if is_first else 'data/lvis_v0.5/',
        ann_file=f'annotations/{"lvis_v1" if is_first else "lvis_v0.5"}_{part}.json',
        data_prefix=dict(img='' if is_first else f'{part}2017/'),
    )


def _cityscapes(name: str, part: str) -> dict:
    return dict(
        type='CityscapesDataset',
        data_root='data/cityscapes/',
        ann_file=f'annotations/instancesonly_filtered_gtFine_{part}.json',
        data_prefix=dict(img=f'leftImg8bit/{part}/'),
    )


def _voc(name: str, part: str) -> dict:
    _, year, split = name.split('_')
    return dict(
        type='VOCDataset',
        data_root='data/VOCdevkit/',
        ann_file=f'VOC{year}/ImageSets/Main/{split}.txt',
        data_prefix=dict(sub_data_root=f'VOC{year}/'),
    )


# what a name begins with -> its dataset here, of the name and of 'train' or 'val'
NAMED: dict[str, Callable[[str, str], dict]] = {
    'coco_2017_': _coco,
    'keypoints_coco_2017_': _coco_keypoints,
    'lvis_v1_': _lvis,
    'lvis_v0.5_': _lvis,
    'cityscapes_fine_instance_seg_': _cityscapes,
    'voc_': _voc,
}
# what these learn is not what their data sets' names say first
OF_ARCHITECTURE: dict[str, dict[str, Callable[[str, str], dict]]] = {
    'PanopticFPN': {'coco_2017_': _coco_panoptic},
    PANOPTIC_DEEPLAB: {'coco_2017_': _coco_panoptic, 'cityscapes_fine_panoptic_': _cityscapes_panoptic},
    'SemanticSegmentor': {
        'coco_2017_': _coco_stuff,
        'cityscapes_fine_sem_seg_': _cityscapes_semantic,
        'ade20k_sem_seg_': _ade20k,
    },
}
# whose architectures learn from panoptic annotations
PANOPTIC = ('PanopticFPN', PANOPTIC_DEEPLAB)


def unknown_datasets(cfg: Mapping) -> list[str]:
    """Names of data sets that are not known here."""
    names = [*cfg['DATASETS']['TRAIN'], *cfg['DATASETS']['TEST']]
    known = OF_ARCHITECTURE.get(cfg['MODEL']['META_ARCHITECTURE'], NAMED)
    return [name for name in names if not name.startswith(tuple(known))]


def named_datasets(cfg: Mapping, phase: str) -> list[dict]:
    """The data sets of ``'TRAIN'`` or ``'TEST'``; COCO in the place of those that are not known."""
    model = cfg['MODEL']
    names = list(cfg['DATASETS'][phase])
    part = 'train' if phase == 'TRAIN' else 'val'
    known = OF_ARCHITECTURE.get(model['META_ARCHITECTURE'], NAMED)
    usual = _coco_keypoints if model['KEYPOINT_ON'] else known['coco_2017_']
    if not names:
        return [usual('', part)]
    makers = [(name, next((known[begin] for begin in known if name.startswith(begin)), usual)) for name in names]
    datasets = [make(name, part) for name, make in makers]
    if model['KEYPOINT_ON'] and (sigmas := cfg['TEST']['KEYPOINT_OKS_SIGMAS']):
        return [dict(dataset, metainfo=dict(dataset['metainfo'], sigmas=list(sigmas))) for dataset in datasets]
    return datasets


# -- evaluation --------------------------------------------------------------------------------------------------------


def evaluator(cfg: Mapping) -> dict | list[dict]:
    """The metrics of what the model predicts, on the first data set of the test."""
    model = cfg['MODEL']
    if model['META_ARCHITECTURE'] == 'SemanticSegmentor':
        return dict(type='SemSegMetric')
    tested = named_datasets(cfg, 'TEST')[0]
    if model['META_ARCHITECTURE'] in PANOPTIC:
        return _panoptic_evaluator(tested)
    if tested['type'] == 'VOCDataset':
        return dict(type='VOCMetric', metric='mAP', eval_mode='11points')
    kind = 'LVISMetric' if tested['type'].startswith('LVIS') else 'CocoMetric'
    if model['META_ARCHITECTURE'] == 'ProposalNetwork':
        return dict(_on_file(tested, kind), metric='proposal_fast')
    return dict(_on_file(tested, kind), metric=_measured(model))


def _measured(model: Mapping) -> Sequence[str]:
    return ['bbox', *(['segm'] if model['MASK_ON'] else []), *(['keypoints'] if model['KEYPOINT_ON'] else [])]


def _on_file(tested: Mapping, kind: str) -> dict:
    return dict(type=kind, ann_file=tested['data_root'] + tested['ann_file'])


def _panoptic_evaluator(tested: Mapping) -> list[dict]:
    segments = dict(
        _on_file(tested, 'CocoPanopticMetric'), seg_prefix=tested['data_root'] + tested['data_prefix']['seg']
    )
    if tested['data_root'] != COCO_ROOT:
        return [segments]
    return [segments, dict(_on_file(_coco('', 'val'), 'CocoMetric'), metric=['bbox', 'segm'])]
