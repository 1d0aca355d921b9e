"""What tiny configs of several families are made of."""

import copy

from tests.models.tiny import BACKBONE, DETECT, NECK, PREPROCESSOR

FAMILIES = {}
# families whose predictions are segments of the whole image
PANOPTIC = {'panoptic_fpn', 'maskformer', 'mask2former_panoptic', 'panoptic_deeplab'}
# classes that only others inherit from
ABSTRACT = {'SingleStageInstanceSegmentor', 'TwoStageDetector', 'TwoStagePanopticSegmentor'}
# pairs of a detector of some family with itself, trained on branches: see detectors/test_semi.py
PAIRS = {'SemiBaseDetector', 'SoftTeacher'}
# they find no objects: see detectors/test_semantic.py
WITHOUT_OBJECTS = {'SemanticSegmentor'}
NUM_STUFF = 2
WIDTH = 8
STRIDES = [8, 16, 32]
FOCAL = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25)
BCE = dict(type='CrossEntropyLoss', use_sigmoid=True)
GROUPS = dict(type='GN', num_groups=2)
TEST = dict(DETECT, nms_pre=100, min_bbox_size=0)
STDS = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2])
MASK_LOSS = dict(type='CrossEntropyLoss', use_mask=True)
SEGMENTS = dict(PREPROCESSOR, pad_mask=True, pad_seg=True)


def family(build):
    """Enter a function (num_classes) -> config under its own name."""
    FAMILIES[build.__name__] = build
    return build


def parts(**changes) -> dict:
    """Backbone, neck and preprocessor, with ``changes``."""
    return copy.deepcopy(dict(dict(backbone=BACKBONE, neck=NECK, data_preprocessor=PREPROCESSOR), **changes))


def three_stages() -> dict:
    """Arguments of a ResNet without its last stage."""
    return dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1))
