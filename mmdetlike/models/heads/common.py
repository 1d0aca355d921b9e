"""Defaults, loss normalizers and checks that heads of several pipelines share."""

import logging
from collections.abc import Callable, Sequence

import torch
from mmengine.logging import print_log
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.task_modules.assigners import BaseAssigner
from mmdetlike.structures import SampleList
from mmdetlike.utils.dist import mean_over_ranks

# what configs of several families have where they say nothing
TOWER_NORM = dict(type='GN', num_groups=32, requires_grad=True)
BATCH_NORM = dict(type='BN', requires_grad=True)
FOCAL_LOSS = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)
BINARY_CROSS_ENTROPY = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)


def rare_classes_init(*class_layers: str) -> dict:
    """Initialize convolutions from N(0, 0.01); classes of ``class_layers`` begin at a probability of 0.01.

    Otherwise the many negatives of the first steps would drown everything else: Focal Loss, arXiv 1708.02002, 3.3.
    """
    override = [dict(type='Normal', name=name, std=0.01, bias_prob=0.01) for name in class_layers]
    return dict(type='Normal', layer='Conv2d', std=0.01, override=override)


def as_one_class(objects: InstanceData) -> InstanceData:
    """The objects of an image, all of class 0, for a head that only tells objects from background."""
    one_class = objects.new()
    one_class.labels = torch.zeros_like(objects.labels)
    return one_class


def loss_normalizer(weights: Tensor, least: float = 1.0) -> Tensor:
    """The sum of ``weights``, averaged over processes, which a loss is divided by; not below ``least``."""
    # gradients are averaged over processes, so all of them must divide by the same number
    return mean_over_ranks(weights.sum(), weights.device, least)


def prefix_losses(terms: dict[str, Tensor], layer: int = 0, num_layers: int = 1, prefix: str = '') -> dict[str, Tensor]:
    """The terms of a decoder layer under the names by which they are logged: ``loss_*`` of the last, ``d0.loss_*``."""
    before = '' if layer == num_layers - 1 else f'd{layer}.'
    return {f'{before}{prefix}loss_{name}': value for name, value in terms.items()}


def supervise_layers(
    layers: Sequence[tuple[Tensor, ...]], compute_terms: Callable[..., dict[str, Tensor]], prefix: str = ''
) -> dict[str, Tensor]:
    """Loss terms by name of the predictions of every decoder layer: ``compute_terms(*predictions)`` of each.

    They are ``loss_*`` of the last layer and ``d0.loss_*``, ``d1.loss_*``, ... of those before; ``prefix`` comes after
    the layer: ``'dn_'`` makes ``d0.dn_loss_cls``.
    """
    losses = {}
    for i, predictions in enumerate(layers):
        losses.update(prefix_losses(compute_terms(*predictions), i, len(layers), prefix))
    return losses


@torch.no_grad()
def match_queries(
    assigner: BaseAssigner, preds: Sequence[InstanceData], gts: Sequence[InstanceData], samples: SampleList
) -> list[tuple[Tensor, Tensor]]:
    """The positive queries (p,) of each image and the index of the object of each.

    Predictions of an image, and its objects, which also have ``labels``, have what the costs of the assigner need.
    """
    matches = []
    for pred, gt, sample in zip(preds, gts, samples):
        # costs compare boxes in shares of the image
        pred.set_metainfo(dict(img_shape=sample.img_shape))
        result = assigner.assign(pred, gt)
        queries = (result.gt_inds > 0).nonzero().squeeze(1)
        matches.append((queries, result.gt_inds[queries] - 1))  # assigners count objects from 1
    return matches


def require_decoded_boxes(head: type, reg_decoded_bbox: bool) -> None:
    """Refuse ``reg_decoded_bbox=False``, by a ``ValueError``, for a head whose ``loss_bbox`` sees decoded boxes."""
    if not reg_decoded_bbox:
        raise ValueError(
            f'reg_decoded_bbox must be True: the loss of {head.__name__} compares decoded boxes, got False'
        )


def notice_unused_assigner(head: type, train_cfg: dict, instead: str) -> None:
    """Log that a head which assigns in its own way, described by ``instead``, does not use ``train_cfg.assigner``.

    It is no error: configs of the toolbox's 2.x have one in every ``train_cfg``.
    """
    if 'assigner' in train_cfg:
        unused = train_cfg['assigner'].get('type')
        message = f'{head.__name__} assigns objects by {instead}; train_cfg.assigner ({unused}) is not used'
        print_log(message, 'current', logging.WARNING)
