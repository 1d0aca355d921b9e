"""Cascade R-CNN, arXiv 1712.00726, in the details of Detectron2."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import geometry

from .branches import MaskBranch
from .cascade_roi_head import CascadeRoIHead
from .stage import Stage, StageOutputs


class KeepingStage(Stage):
    """A stage that hands all its regions on, objects that were among them too, but for those without area."""

    def next_proposals(
        self, outs: StageOutputs, samples: SampleList, sampled: Sequence[SamplingResult] | None = None
    ) -> list[InstanceData]:
        proposals = super().next_proposals(outs, samples)
        if sampled is None:
            return proposals
        return [image[geometry.is_larger(image.bboxes, 0)] for image in proposals]


class FirstStageMaskBranch(MaskBranch):
    """Masks that are trained on the regions of the first stage alone and predicted for the last one's boxes."""

    stages_with_masks = (0,)


@MODELS.register_module()
class SharedMaskCascadeRoIHead(CascadeRoIHead):
    """A cascade as Detectron2 has it, with one mask head, trained on the first stage's regions.

    Beside that, it averages probabilities of the stages, not logits; its backbone gets the mean of their gradients,
    not their sum; and regions go from stage to stage without being sampled or joined by objects again.

    The arguments are those of ``CascadeRoIHead``, but ``mask_roi_extractor`` and ``mask_head`` are one for all stages.
    """

    stage_class = KeepingStage
    mask_branch_class = FirstStageMaskBranch
    has_one_mask_head = True

    def box_features(self, stage: int, x: Sequence[Tensor], rois: Tensor) -> tuple[Tensor, ...]:
        """Region features (n, C, h, w) whose gradient is divided by the number of stages."""
        (feats,) = super().box_features(stage, x, rois)
        share = feats / self.num_stages
        return (share + (feats - share).detach(),)

    def merge_stages(self, head: nn.Module, preds_of_stages: Sequence[tuple]) -> tuple:
        """The last stage's preds, with logits whose probabilities are the mean of those of all stages."""
        scores = torch.stack([head.region_scores(preds) for preds in preds_of_stages]).mean(0)
        return (scores.log(), *preds_of_stages[-1][1:])
