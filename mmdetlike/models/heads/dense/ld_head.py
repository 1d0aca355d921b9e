"""LD: Localization Distillation for Dense Object Detection, arXiv 2102.12252."""

from collections.abc import Sequence

from torch import Tensor

from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .gfl_head import GFLHead
from .predictions import DenseTargets, FlatPredictions

DEFAULT_LOSS_LD = dict(type='KnowledgeDistillationKLDivLoss', loss_weight=0.25, T=10)


@MODELS.register_module()
class LDHead(GFLHead):
    """A ``GFLHead`` whose distributions of box sides also learn from those of a teacher.

    Args:
        loss_ld: Loss of the distributions against the teacher's.
        num_classes, in_channels, kwargs: As of ``GFLHead``.
    """

    def __init__(self, num_classes: int, in_channels: int, loss_ld: dict = DEFAULT_LOSS_LD, **kwargs) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.loss_ld = MODELS.build(loss_ld)

    def loss_with_teacher(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, teacher_preds: FlatPredictions
    ) -> dict[str, list[Tensor]]:
        """Loss terms as of ``loss``, and ``loss_ld`` against what a teacher predicts at the same priors."""
        preds = self.flatten(self(x))
        targets = self.targets(preds, batch_data_samples)
        terms = self.target_losses(preds, targets, batch_data_samples)
        return self.named_losses(dict(terms, ld=self.distillation_losses(preds, teacher_preds, targets)))

    def distillation_losses(
        self, preds: FlatPredictions, teacher_preds: FlatPredictions, targets: DenseTargets
    ) -> list[Tensor]:
        """Loss of the positives' distributions against the teacher's, one value a level."""
        pos = targets.pos_inds
        logits = preds.bbox_pred.flatten(0, 1)[pos].unflatten(-1, (4, -1))
        teacher_logits = teacher_preds.bbox_pred.flatten(0, 1)[pos].unflatten(-1, (4, -1))
        weight = self.positive_weights(preds, targets)

        def distillation_loss(rows: slice, pos: Tensor) -> Tensor:
            sides = logits[pos].flatten(0, 1), teacher_logits[pos].flatten(0, 1)
            # averaged over the four sides, but, unlike the other terms, summed over the positives
            return self.loss_ld(*sides, weight[pos].repeat_interleave(4), avg_factor=4)

        return self.losses_by_level(preds, targets, ld=distillation_loss)['ld']
