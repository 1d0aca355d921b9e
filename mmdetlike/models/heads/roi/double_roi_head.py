"""The region head of Rethinking Classification and Localization for Object Detection, arXiv 1904.06493."""

from collections.abc import Sequence

from torch import Tensor

from mmdetlike.registry import MODELS

from .standard_roi_head import StandardRoIHead


@MODELS.register_module()
class DoubleHeadRoIHead(StandardRoIHead):
    """Classes are predicted from regions, boxes from larger regions around them.

    Args:
        reg_roi_scale_factor: Regions that boxes are regressed from are so many times as high and wide.
        kwargs: See ``StandardRoIHead``; ``bbox_head`` takes two sets of features, as ``DoubleConvFCBBoxHead`` does.
    """

    def __init__(self, reg_roi_scale_factor: float, **kwargs) -> None:
        super().__init__(**kwargs)
        self.reg_roi_scale_factor = reg_roi_scale_factor

    def box_features(self, stage: int, x: Sequence[Tensor], rois: Tensor) -> tuple[Tensor, ...]:
        """Features (n, C, h, w) to classify and features to regress boxes from."""
        to_classify = self.features('bbox_roi_extractor', stage, x, rois)
        return to_classify, self.features('bbox_roi_extractor', stage, x, rois, self.reg_roi_scale_factor)
