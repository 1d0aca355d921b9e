"""Knowledge distillation: the loss of a student whose target is what a teacher predicts."""

import torch.nn.functional as F
from torch import Tensor

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
        expected = (target.detach() / self.T).softmax(1)
        divergence = F.kl_div((pred / self.T).log_softmax(1), expected, reduction='none')
        return divergence.mean(1) * self.T**2
