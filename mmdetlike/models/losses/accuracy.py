"""Top-k accuracy of class scores."""

import torch
from torch import Tensor, nn


def accuracy(
    pred: Tensor, target: Tensor, topk: int | tuple[int, ...] = 1, thresh: float | None = None
) -> Tensor | list[Tensor]:
    """Share of rows whose label is among the ``topk`` highest scores, in percent.

    Args:
        pred: Scores (n, c).
        target: Class indices (n,).
        topk: How many of the highest scores count; several values give several results.
        thresh: A score not above it doesn't count as predicted.

    Returns:
        A scalar (0 if n is 0), or one for each value of ``topk``.

    Raises:
        ValueError: The shapes don't fit, or ``topk`` exceeds the number of classes.
    """
    topks = (topk,) if isinstance(topk, int) else tuple(topk)
    if pred.dim() != 2 or target.dim() != 1 or len(pred) != len(target):
        raise ValueError(
            f'accuracy expects scores (n, c) and labels (n,), but got {tuple(pred.shape)} and {tuple(target.shape)}.'
        )
    if max(topks) > pred.shape[1]:
        raise ValueError(f'topk={max(topks)} exceeds the number of classes, {pred.shape[1]}.')
    scores, labels = pred.topk(max(topks), dim=1)
    correct = labels == target.unsqueeze(1)
    if thresh is not None:
        correct &= scores > thresh
    percent = 100.0 / max(len(pred), 1)
    results = [correct[:, :k].sum(dtype=torch.float32) * percent for k in topks]
    return results[0] if isinstance(topk, int) else results


class Accuracy(nn.Module):
    """``accuracy`` as a module.

    Args:
        topk, thresh: As of ``accuracy``.
    """

    def __init__(self, topk: int | tuple[int, ...] = (1,), thresh: float | None = None) -> None:
        super().__init__()
        self.topk = topk
        self.thresh = thresh

    def forward(self, pred: Tensor, target: Tensor) -> Tensor | list[Tensor]:
        """Return the accuracy of scores (n, c) for labels (n,), in percent."""
        return accuracy(pred, target, self.topk, self.thresh)
