"""Boxes and masks that help each other, with semantic context: Hybrid Task Cascade, arXiv 1901.07518."""

from collections.abc import Sequence

from mmdetlike.registry import MODELS

from .branches import HTCMaskBranch
from .semantic_cascade_roi_head import SemanticCascadeRoIHead


@MODELS.register_module()
class HybridTaskCascadeRoIHead(SemanticCascadeRoIHead):
    """A cascade whose masks are trained on refined boxes, hand their features on and see a semantic branch.

    Args:
        num_stages, stage_loss_weights: As of ``CascadeRoIHead``.
        semantic_roi_extractor, semantic_head, semantic_fusion: As of ``SemanticCascadeRoIHead``.
        interleaved: Train a stage's masks on the boxes that this stage has refined.
        mask_info_flow: Feed each mask head the features of the one before.
    """

    mask_branch_class = HTCMaskBranch

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        semantic_roi_extractor: dict | None = None,
        semantic_head: dict | None = None,
        semantic_fusion: Sequence[str] = ('bbox', 'mask'),
        interleaved: bool = True,
        mask_info_flow: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(
            num_stages, stage_loss_weights, semantic_roi_extractor, semantic_head, semantic_fusion, **kwargs
        )
        self.interleaved, self.mask_info_flow = interleaved, mask_info_flow
