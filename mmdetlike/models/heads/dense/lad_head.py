"""LAD: Improving Object Detection by Label Assignment Distillation, arXiv 2108.10520."""

from collections.abc import Sequence

from torch import Tensor

from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .paa_head import PAAHead
from .predictions import DenseTargets


@MODELS.register_module()
class LADHead(PAAHead):
    """A ``PAAHead`` whose positives are chosen by the losses of a teacher, not by its own."""

    def loss_with_teacher(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, teacher_targets: DenseTargets
    ) -> dict[str, Tensor]:
        """Loss terms as of ``loss``, for the positives of a teacher at the same priors (its ``likely_targets``)."""
        return self.named_losses(self.target_losses(self.flatten(self(x)), teacher_targets, batch_data_samples))

    def box_loss(self, boxes: Tensor, targets: DenseTargets, ious: Tensor) -> Tensor:
        """Loss of the positives' ``boxes`` (P, 4), which count alike."""
        return self.loss_bbox(boxes, targets.pos_gt_bboxes, avg_factor=targets.num_pos)
