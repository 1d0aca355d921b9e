"""Settings that projects of Detectron2 add to its own: they exist where a config uses the project's parts."""

from collections.abc import Mapping

DEEPLAB_HEADS = ('DeepLabV3Head', 'DeepLabV3PlusHead')
DEEPLAB_BACKBONE = 'build_resnet_deeplab_backbone'
PANOPTIC_DEEPLAB = 'PanopticDeepLab'

TRIDENT_BACKBONE = 'build_trident_resnet_backbone'

TRIDENT_DEFAULTS = {
    'MODEL': {
        'TRIDENT': {'BRANCH_DILATIONS': [1, 2, 3], 'NUM_BRANCH': 3, 'TEST_BRANCH_IDX': 1, 'TRIDENT_STAGE': 'res4'},
    },
}
DEEPLAB_DEFAULTS = {
    'INPUT': {'CROP': {'SINGLE_CATEGORY_MAX_AREA': 1.0}},
    'MODEL': {
        'RESNETS': {'RES4_DILATION': 1, 'RES5_MULTI_GRID': [1, 2, 4], 'STEM_TYPE': 'deeplab'},
        'SEM_SEG_HEAD': {
            'ASPP_CHANNELS': 256,
            'ASPP_DILATIONS': [6, 12, 18],
            'ASPP_DROPOUT': 0.1,
            'LOSS_TYPE': 'hard_pixel_mining',
            'PROJECT_CHANNELS': [48],
            'PROJECT_FEATURES': ['res2'],
            'USE_DEPTHWISE_SEPARABLE_CONV': False,
        },
    },
    'SOLVER': {'POLY_LR_CONSTANT_ENDING': 0.0, 'POLY_LR_POWER': 0.9},
}
PANOPTIC_DEEPLAB_DEFAULTS = {
    'INPUT': {
        'GAUSSIAN_SIGMA': 10,
        'IGNORE_CROWD_IN_SEMANTIC': False,
        'IGNORE_STUFF_IN_OFFSET': True,
        'SMALL_INSTANCE_AREA': 4096,
        'SMALL_INSTANCE_WEIGHT': 3,
    },
    'MODEL': {
        'INS_EMBED_HEAD': {
            'ASPP_CHANNELS': 256,
            'ASPP_DILATIONS': [6, 12, 18],
            'ASPP_DROPOUT': 0.1,
            'CENTER_LOSS_WEIGHT': 200.0,
            'COMMON_STRIDE': 4,
            'CONVS_DIM': 128,
            'HEAD_CHANNELS': 32,
            'IN_FEATURES': ['res2', 'res3', 'res5'],
            'NAME': 'PanopticDeepLabInsEmbedHead',
            'NORM': 'SyncBN',
            'OFFSET_LOSS_WEIGHT': 0.01,
            'PROJECT_CHANNELS': [32, 64],
            'PROJECT_FEATURES': ['res2', 'res3'],
        },
        'PANOPTIC_DEEPLAB': {
            'BENCHMARK_NETWORK_SPEED': False,
            'CENTER_THRESHOLD': 0.1,
            'NMS_KERNEL': 7,
            'PREDICT_INSTANCES': True,
            'SIZE_DIVISIBILITY': -1,
            'STUFF_AREA': 2048,
            'TOP_K_INSTANCE': 200,
            'USE_DEPTHWISE_SEPARABLE_CONV': False,
        },
        'SEM_SEG_HEAD': {'HEAD_CHANNELS': 256, 'LOSS_TOP_K': 0.2},
    },
    'SOLVER': {'OPTIMIZER': 'ADAM'},
}


def project_defaults(values: Mapping) -> list[dict]:
    """Settings beside Detectron2's own that a file with these ``values`` may change, the first ones first."""
    if _setting(values, 'BACKBONE', 'NAME') == TRIDENT_BACKBONE:
        return [TRIDENT_DEFAULTS]
    if _setting(values, 'META_ARCHITECTURE') == PANOPTIC_DEEPLAB:
        return [DEEPLAB_DEFAULTS, PANOPTIC_DEEPLAB_DEFAULTS]
    return [DEEPLAB_DEFAULTS] if is_deeplab(values) else []


def is_deeplab(values: Mapping) -> bool:
    """Whether a config uses a part of DeepLab or is one of Panoptic-DeepLab."""
    return (
        _setting(values, 'META_ARCHITECTURE') == PANOPTIC_DEEPLAB
        or _setting(values, 'SEM_SEG_HEAD', 'NAME') in DEEPLAB_HEADS
        or _setting(values, 'BACKBONE', 'NAME') == DEEPLAB_BACKBONE
    )


def _setting(values: Mapping, *path: str):
    """What a file says below ``MODEL``, None for nothing."""
    found = values.get('MODEL')
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
