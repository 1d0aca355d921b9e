"""Statistics of batch norms, computed anew with the weights as they are (Rethinking "Batch" in BatchNorm, 2105.07576).

Running statistics are averages over batches of the past, when weights were others.
"""

import itertools
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdetlike.errors import ConfigError


def batch_norms_in_training(model: nn.Module) -> list[_BatchNorm]:
    """The batch norms of a model that are in training mode and keep running statistics."""
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    return [layer for layer in layers if layer.training and layer.track_running_stats]


class _BatchStatistics:
    """Sums, over batches, of the mean and of the variance that a layer saw: each batch counts alike."""

    def __init__(self, layer: _BatchNorm) -> None:
        self.layer = layer
        self.momentum = layer.momentum
        self.batches = 0
        self.mean = torch.zeros_like(layer.running_mean)
        self.variance = torch.zeros_like(layer.running_var)
        # with momentum 1 the running statistics are those of the last batch
        layer.momentum = 1.0

    def forget(self) -> None:
        """Mark what is there, to see whether the layer is run in the next batch."""
        self.layer.num_batches_tracked.zero_()

    def add(self) -> None:
        """Count the statistics of the batch that has just been run, if the layer was."""
        if self.layer.num_batches_tracked > 0:
            self.batches += 1
            self.mean += self.layer.running_mean
            self.variance += self.layer.running_var


@torch.no_grad()
def update_bn_stats(model: nn.Module, data_loader: Iterable, num_iters: int = 200) -> int:
    """Set running mean and variance of batch norms to the mean over batches, with the weights as they are.

    Only layers in training mode change; modes stay as they are. Other layers with a state of their own, as an average
    of weights, are run and change, too.

    Args:
        model: The detector, whose ``data_preprocessor`` prepares batches if it has one; it is run by ``loss``.
        data_loader: Batches.
        num_iters: How many of them.

    Returns:
        The number of layers that were set.

    Raises:
        ConfigError: There are fewer batches.
    """
    layers = batch_norms_in_training(model)
    if not layers:
        return 0
    kept: list[tuple[Tensor, Tensor, Tensor]] = [
        (layer.running_mean.clone(), layer.running_var.clone(), layer.num_batches_tracked.clone()) for layer in layers
    ]
    statistics = [_BatchStatistics(layer) for layer in layers]
    try:
        seen = _run(model, data_loader, num_iters, statistics)
    finally:
        for each, (mean, variance, tracked) in zip(statistics, kept):
            each.layer.momentum = each.momentum
            each.layer.num_batches_tracked.copy_(tracked)
            each.layer.running_mean.copy_(mean)
            each.layer.running_var.copy_(variance)
    if seen < num_iters:
        raise ConfigError(f'update_bn_stats: expected {num_iters} batches, the data loader has {seen}.')
    for each in statistics:
        if each.batches:
            each.layer.running_mean.copy_(each.mean / each.batches)
            each.layer.running_var.copy_(each.variance / each.batches)
    return sum(each.batches > 0 for each in statistics)


def _run(model: nn.Module, data_loader: Iterable, num_iters: int, statistics: list[_BatchStatistics]) -> int:
    seen = 0
    for batch in itertools.islice(data_loader, num_iters):
        for each in statistics:
            each.forget()
        _forward(model, batch)
        for each in statistics:
            each.add()
        seen += 1
    return seen


def _forward(model: nn.Module, batch: object) -> None:
    detector = getattr(model, 'module', model)  # of a distributed wrapper
    if hasattr(detector, 'data_preprocessor'):
        model(**detector.data_preprocessor(batch, True), mode='loss')
    else:
        model(batch)
