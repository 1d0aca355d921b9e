"""Tiny configs of query detectors that are trained with auxiliary heads."""

from tests.models.tiny import config

from .common import family
from .dense import atss
from .query import DIMS, deformable_detr_two_stage, dino
from .two_stage import extractor

STRIDES = [16, 32, 64, 128]


def auxiliary_heads(num_classes: int) -> list[dict]:
    """Configs of a region head and of a dense head on the encoder's maps."""
    regions = config('faster_rcnn', num_classes)
    anchors = dict(type='AnchorGenerator', scales=[2], ratios=[1.0], strides=STRIDES)
    rpn_head = dict(regions['rpn_head'], in_channels=DIMS, anchor_generator=anchors)
    pooling = dict(extractor(3), out_channels=DIMS, featmap_strides=STRIDES)
    bbox_head = dict(regions['roi_head']['bbox_head'], in_channels=DIMS)
    roi_head = dict(type='StandardRoIHead', bbox_roi_extractor=pooling, bbox_head=bbox_head)
    single = atss(num_classes)
    dense = dict(single['bbox_head'], in_channels=DIMS, anchor_generator=anchors, train_cfg=single['train_cfg'])
    return [
        dict(type='AuxiliaryRegionHead', rpn_head=rpn_head, roi_head=roi_head, train_cfg=regions['train_cfg']),
        dict(type='AuxiliaryDenseHead', head=dense),
    ]


@family
def co_dino(num_classes: int = 3) -> dict:
    return dict(dino(num_classes), type='CoDINO', auxiliary_heads=auxiliary_heads(num_classes))


@family
def co_deformable_detr(num_classes: int = 3) -> dict:
    cfg = deformable_detr_two_stage(num_classes)
    return dict(cfg, type='CoDeformableDETR', auxiliary_heads=auxiliary_heads(num_classes))
