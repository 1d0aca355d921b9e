"""Tiny configs of detectors whose predictions, or a teacher's, decide which priors learn an object."""

from tests.models.tiny import retina_head

from .common import STDS, family
from .dense import dense

SMOOTH = dict(type='SmoothL1Loss', beta=0.11, loss_weight=0.75)


@family
def free_anchor(num_classes: int = 3) -> dict:
    head = retina_head(num_classes)
    head.update(type='FreeAnchorRetinaHead', bbox_coder=STDS, loss_bbox=SMOOTH, pre_anchor_topk=10)
    return dense('RetinaNet', head)
