"""Detection operators compiled once for every PyTorch from 2.10 on; imports torch and nothing of ours."""

from .bbox_overlaps import bbox_overlaps
from .nms import batched_nms, nms, nms_match
from .roi_align import RoIAlign, roi_align
from .roi_pool import RoIPool, roi_pool
from .sigmoid_focal_loss import SigmoidFocalLoss, sigmoid_focal_loss
from .soft_nms import soft_nms

__all__ = [
    'RoIAlign',
    'RoIPool',
    'SigmoidFocalLoss',
    'batched_nms',
    'bbox_overlaps',
    'nms',
    'nms_match',
    'roi_align',
    'roi_pool',
    'sigmoid_focal_loss',
    'soft_nms',
]
