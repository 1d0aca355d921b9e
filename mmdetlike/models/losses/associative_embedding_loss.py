"""Associative embedding: Associative Embedding, arXiv 1611.05424, as CornerNet, arXiv 1808.01244, uses it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS

MARGIN = 1.0  # how far the means of two objects should be apart


@MODELS.register_module()
class AssociativeEmbeddingLoss(nn.Module):
    """Pull the embeddings of an object's two corners together, push those of different objects apart.

    Args:
        pull_weight, push_weight: Weights of the first and of the second term.
    """

    def __init__(self, pull_weight: float = 0.25, push_weight: float = 0.25) -> None:
        super().__init__()
        self.pull_weight, self.push_weight = pull_weight, push_weight

    def forward(
        self, pred: Tensor, target: Tensor, match: Sequence[Sequence[tuple[tuple[int, int], tuple[int, int]]]]
    ) -> tuple[Tensor, Tensor]:
        """Compare what a batch's maps hold at the corners of its objects.

        Args:
            pred, target: Embeddings (B, C, h, w) of top left and of bottom right corners.
            match: For each image, for each object, row and column of its top left and of its bottom right corner.

        Returns:
            Both terms, weighted: sums over images of the means over objects and over pairs of different objects.
        """
        pred, target = float32_if_half(pred, target)
        terms = [self._image_terms(*maps) for maps in zip(pred, target, match)]
        pull = sum((term[0] for term in terms), pred.sum() * 0)
        push = sum((term[1] for term in terms), target.sum() * 0)
        return self.pull_weight * pull, self.push_weight * push

    def _image_terms(self, top_left: Tensor, bottom_right: Tensor, corners: Sequence) -> tuple[Tensor, Tensor]:
        if not len(corners):
            return top_left.sum() * 0, bottom_right.sum() * 0
        rows, columns = torch.as_tensor(corners, device=top_left.device).unbind(-1)
        first = top_left[:, rows[:, 0], columns[:, 0]]
        second = bottom_right[:, rows[:, 1], columns[:, 1]]
        mean = (first + second) / 2
        pull = ((first - mean) ** 2 + (second - mean) ** 2).sum(0).mean()
        return pull, push_apart(mean)


def push_apart(means: Tensor) -> Tensor:
    """How much nearer than ``MARGIN`` the objects' ``means`` (C, n) are to each other, averaged over pairs."""
    count = means.shape[1]
    if count < 2:
        return means.sum() * 0
    distances = (means[:, None] - means[:, :, None]).abs()
    # an object is at distance 0 from itself, which the sum over all pairs holds n times
    overlap = (MARGIN - distances).clamp(min=0).mean(0).sum() - MARGIN * count
    return overlap / (count * (count - 1))
