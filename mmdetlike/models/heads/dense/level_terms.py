"""Loss terms of heads that compute them level by level: see ``DenseHead.losses_by_level``."""

from torch import Tensor, nn

from .base import DenseHead, LevelTerm
from .predictions import DenseTargets, FlatPredictions


def class_term(
    head: DenseHead, preds: FlatPredictions, targets: DenseTargets, quality: Tensor | None = None, **options
) -> LevelTerm:
    """The classification loss of a level; ``quality`` and ``options`` are those of ``DenseHead.class_loss``."""

    def class_loss(rows: slice, pos: Tensor) -> Tensor:
        return head.class_loss(preds, targets, rows, quality, **options)

    return class_loss


def positive_term(loss: nn.Module, *values: Tensor, avg_factor: float | Tensor) -> LevelTerm:
    """The ``loss`` of a level's positives, of their rows of each of the ``values`` (P, ...) of all positives."""

    def loss_of_positives(rows: slice, pos: Tensor) -> Tensor:
        return loss(*(value[pos] for value in values), avg_factor=avg_factor)

    return loss_of_positives
