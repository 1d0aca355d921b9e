"""What heads of several pipelines share."""

from collections.abc import Callable, Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.structures import SampleList
from mmdetlike.utils.dist import mean_over_ranks


def rare_classes_init(class_layer: str) -> dict:
    """Convolutions by a normal distribution; in ``class_layer`` classes begin at a probability of 0.01."""
    override = dict(type='Normal', name=class_layer, std=0.01, bias_prob=0.01)
    return dict(type='Normal', layer='Conv2d', std=0.01, override=override)


def loss_normalizer(weights: Tensor, least: float = 1.0) -> float:
    """The sum of ``weights``, averaged over processes, which a loss is divided by; not below ``least``."""
    return max(mean_over_ranks(float(weights.sum()), weights.device), least)


def prefix_losses(terms: dict[str, Tensor], layer: int = 0, num_layers: int = 1, prefix: str = '') -> dict[str, Tensor]:
    """The terms of a layer as they appear in the log."""
    before = '' if layer == num_layers - 1 else f'd{layer}.'
    return {f'{before}{prefix}loss_{name}': value for name, value in terms.items()}


def supervise_layers(
    layers: Sequence[tuple[Tensor, ...]], compute_terms: Callable[..., dict[str, Tensor]], prefix: str = ''
) -> dict[str, Tensor]:
    """Loss terms of the predictions of every decoder layer.

    Args:
        layers: Predictions of each layer.
        compute_terms: Called with the predictions of a layer; returns its terms by name.
        prefix: Put before the names, after the layer: ``'dn_'`` makes ``d0.dn_loss_cls``.

    Returns:
        ``loss_*`` of the last layer, ``d0.loss_*``, ``d1.loss_*``, ... of those before.
    """
    losses = {}
    for i, predictions in enumerate(layers):
        losses.update(prefix_losses(compute_terms(*predictions), i, len(layers), prefix))
    return losses


@torch.no_grad()
def match_queries(
    assigner, preds: Sequence[InstanceData], gts: Sequence[InstanceData], samples: SampleList
) -> list[tuple[Tensor, Tensor]]:
    """The positive queries (p,) of each image and the index of the object of each.

    Args:
        assigner: Matches the queries of an image with its objects.
        preds: Predictions of each image, what the costs of the assigner need.
        gts: Objects of each image, with ``labels`` and what the costs need.
        samples: The samples of the images.
    """
    matches = []
    for pred, gt, sample in zip(preds, gts, samples):
        result = assigner.assign(pred, gt, img_meta=sample.metainfo)
        queries = (result.gt_inds > 0).nonzero().squeeze(1)
        matches.append((queries, result.gt_inds[queries] - 1))
    return matches
