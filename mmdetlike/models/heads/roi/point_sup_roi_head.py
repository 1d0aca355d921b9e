"""The region head of PointSup: Pointly-Supervised Instance Segmentation, arXiv 2104.06404."""

from mmdetlike.registry import MODELS

from .branches import PointMaskBranch
from .standard_roi_head import StandardRoIHead


@MODELS.register_module()
class PointSupRoIHead(StandardRoIHead):
    """Mask R-CNN's region head, whose masks are learned from labeled points (``LoadMaskPoints``); see ``RoIHead``."""

    mask_branch_class = PointMaskBranch
