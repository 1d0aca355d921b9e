"""The region head of Mask Scoring R-CNN, arXiv 1903.00241."""

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from .branches import MaskScoringBranch
from .standard_roi_head import StandardRoIHead


@MODELS.register_module()
class MaskScoringRoIHead(StandardRoIHead):
    """A region head that predicts how well its masks fit, and scores objects by it too.

    Args:
        mask_iou_head: Predicts the overlap of a mask with its object.
        kwargs: See ``StandardRoIHead``; ``train_cfg`` has ``mask_thr_binary``, the threshold of the masks whose overlap
            is learned.

    Raises:
        ConfigError: There is no ``mask_head``.
    """

    mask_branch_class = MaskScoringBranch

    def __init__(self, mask_iou_head: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        if not self.with_mask:
            raise ConfigError('MaskScoringRoIHead scores masks, but there is no mask_head')
        self.mask_iou_head = MODELS.build(mask_iou_head)
