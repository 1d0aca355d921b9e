"""The loss by which the last layer of D-FINE, arXiv 2410.13842, teaches those before it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.registry import MODELS


@MODELS.register_module()
class DecoupledDistillationFocalLoss(nn.Module):
    """Divergence from a teacher's distributions; of matched and of other ones apart, so that the many don't win.

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
        expected = (target.detach() / self.T).softmax(-1)
        divergence = F.kl_div((pred / self.T).log_softmax(-1), expected, reduction='none').sum(-1)
        weighted = divergence * weight * self.T**2
        groups = torch.stack([is_matched, ~is_matched])
        counts = groups.sum(1)
        means = (groups * weighted).sum(1) / counts.clamp(min=1)
        # the root lies between counting each row and counting both groups alike
        shares = counts.sqrt()
        return (means * shares).sum() / shares.sum().clamp(min=1) * self.loss_weight
