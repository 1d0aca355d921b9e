"""The region head of Fast, Faster and Mask R-CNN: arXiv 1504.08083, 1506.01497, 1703.06870."""

from mmdetlike.registry import MODELS

from .roi_head import RoIHead


@MODELS.register_module()
class StandardRoIHead(RoIHead):
    """One stage of regions: classify the proposals, refine their boxes and draw their masks; see ``RoIHead``."""
