"""Knowledge distillation: the loss of a student whose target is what a teacher predicts."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.registry import MODELS

from .reduction import Loss


@MODELS.register_module()
class KnowledgeDistillationKLDivLoss(Loss):
    """Divergence of softened distributions from a teacher's (Distilling the Knowledge in a Neural Network, 1503.02531).

    ``pred`` and ``target`` are logits (n, c); no gradient flows into the latter. The divergence is averaged over the c
    classes and multiplied by ``T ** 2``, which keeps gradients as large as without softening.

    Args:
        reduction, loss_weight: As of ``Loss``.
        T: Temperature: what logits are divided by; a ``ValueError`` if below 1.
    """

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0, T: float = 10) -> None:
        super().__init__(reduction, loss_weight)
        if T < 1:
            raise ValueError(f'KnowledgeDistillationKLDivLoss needs T >= 1, got {T}')
        self.T = T

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, (n,)."""
        return softened_divergence(pred, target, self.T).mean(1) * self.T**2


@MODELS.register_module()
class DecoupledDistillationFocalLoss(nn.Module):
    """Divergence from a teacher's distributions; of matched and of other ones apart, so that the many don't win.

    By it the last layer of D-FINE, arXiv 2410.13842, teaches those before it.

    Args:
        T: Temperature: what logits are divided by; a ``ValueError`` if below 1.
        loss_weight: Factor of the result.
    """

    def __init__(self, T: float = 5.0, loss_weight: float = 1.5) -> None:
        super().__init__()
        if T < 1:
            raise ValueError(f'DecoupledDistillationFocalLoss needs T >= 1, got {T}')
        self.T, self.loss_weight = T, loss_weight

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor, is_matched: Tensor) -> Tensor:
        """The loss, a scalar.

        Args:
            pred: (n, c) logits of the student.
            target: (n, c) logits of the teacher, into which no gradient flows.
            weight: (n,) how much a row counts: the overlap of a matched one, the score of another.
            is_matched: (n,) which rows belong to an object.
        """
        weighted = softened_divergence(pred, target, self.T).sum(-1) * weight * self.T**2
        groups = torch.stack([is_matched, ~is_matched])
        counts = groups.sum(1)
        means = (groups * weighted).sum(1) / counts.clamp(min=1)
        # the root lies between counting each row and counting both groups alike
        shares = counts.sqrt()
        return (means * shares).sum() / shares.sum().clamp(min=1) * self.loss_weight


def softened_divergence(pred: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Terms (n, c) of the divergence of logits ``pred`` from a teacher's, into which no gradient flows."""
    expected = (target.detach() / temperature).softmax(-1)
    return F.kl_div((pred / temperature).log_softmax(-1), expected, reduction='none')
