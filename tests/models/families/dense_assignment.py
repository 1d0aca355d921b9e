"""Tiny configs of detectors whose predictions, or a teacher's, decide which priors learn an object."""

from tests.models.tiny import retina_head

from .common import STDS, family
from .dense import aligned, anchors, dense

SMOOTH = dict(type='SmoothL1Loss', beta=0.11, loss_weight=0.75)


@family
def free_anchor(num_classes: int = 3) -> dict:
    head = retina_head(num_classes)
    head.update(type='FreeAnchorRetinaHead', bbox_coder=STDS, loss_bbox=SMOOTH, pre_anchor_topk=10)
    return dense('RetinaNet', head)


LOOSE = dict(type='MaxIoUAssigner', pos_iou_thr=0.1, neg_iou_thr=0.1, min_pos_iou=0)


@family
def paa(num_classes: int = 3) -> dict:
    return aligned('PAA', num_classes, LOOSE, anchor_generator=anchors(), bbox_coder=STDS, topk=4)
