"""Losses of aligned pairs of boxes, built on one function of overlap, union and enclosing box."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mmdetlike.registry import MODELS

from .reduction import Loss, float32_if_half, weighted_loss


class PairTerms(NamedTuple):
    """What the IoU family is made of; sizes and vectors are (n, 2) as (x, y), the others (n,)."""

    overlap: Tensor
    """Area of the intersection."""
    union: Tensor
    """Area of the union."""
    iou: Tensor
    """``overlap / (union + eps)``."""
    enclosing: Tensor
    """Width and height of the smallest box around both."""
    offset: Tensor
    """From the centre of the prediction to that of the target."""
    pred_size: Tensor
    """Width and height of the prediction."""
    target_size: Tensor
    """Width and height of the target."""


def pair_terms(pred: Tensor, target: Tensor, eps: float) -> PairTerms:
    """Compare two sets of boxes pair by pair.

    Args:
        pred: Boxes (n, 4) as xyxy.
        target: Boxes (n, 4) as xyxy.
        eps: Keeps the division by an area finite.

    Returns:
        The terms, in float32 if the boxes are float16 or bfloat16.

    Raises:
        ValueError: The shapes differ or aren't (n, 4).
    """
    if pred.shape != target.shape or pred.shape[-1:] != (4,):
        raise ValueError(
            f'IoU losses compare boxes (n, 4) pair by pair, but got {tuple(pred.shape)} and {tuple(target.shape)}.'
        )
    pred, target = float32_if_half(pred, target)
    pred_min, pred_max = pred[..., :2], pred[..., 2:]
    target_min, target_max = target[..., :2], target[..., 2:]
    pred_size, target_size = pred_max - pred_min, target_max - target_min
    inner = (torch.minimum(pred_max, target_max) - torch.maximum(pred_min, target_min)).clamp(min=0)
    overlap = inner.prod(dim=-1)
    union = pred_size.prod(dim=-1) + target_size.prod(dim=-1) - overlap
    return PairTerms(
        overlap=overlap,
        union=union,
        iou=overlap / (union + eps),
        enclosing=torch.maximum(pred_max, target_max) - torch.minimum(pred_min, target_min),
        offset=(target_min + target_max - pred_min - pred_max) / 2,
        pred_size=pred_size,
        target_size=target_size,
    )


@weighted_loss
def iou_loss(pred: Tensor, target: Tensor, mode: str = 'log', eps: float = 1e-6) -> Tensor:
    """``-log(iou)``, ``1 - iou`` or ``1 - iou ** 2`` (UnitBox, arXiv 1608.01471).

    Args:
        pred: Boxes (n, 4) as xyxy.
        target: Boxes (n, 4) as xyxy.
        mode: ``log``, ``linear`` or ``square``.
        eps: Least value of the IoU.

    Returns:
        (n,).
    """
    iou = pair_terms(pred, target, eps).iou.clamp(min=eps)
    if mode == 'linear':
        return 1 - iou
    return 1 - iou**2 if mode == 'square' else -iou.log()


@weighted_loss
def giou_loss(pred: Tensor, target: Tensor, eps: float = 1e-6) -> Tensor:
    """``1 - GIoU`` in [0, 2] (Generalized Intersection over Union, arXiv 1902.09630).

    Args:
        pred: Boxes (n, 4) as xyxy.
        target: Boxes (n, 4) as xyxy.
        eps: Keeps divisions finite.

    Returns:
        (n,).
    """
    terms = pair_terms(pred, target, eps)
    hull = terms.enclosing.prod(dim=-1)
    return 1 - terms.iou + (hull - terms.union) / (hull + eps)


def _centre_distance(terms: PairTerms, eps: float) -> Tensor:
    """Squared distance of the centres over the squared diagonal of the enclosing box, (n,)."""
    return terms.offset.square().sum(dim=-1) / (terms.enclosing.square().sum(dim=-1) + eps)


@weighted_loss
def diou_loss(pred: Tensor, target: Tensor, eps: float = 1e-6) -> Tensor:
    """``1 - IoU`` plus the normalised squared distance of the centres (Distance-IoU Loss, arXiv 1911.08287).

    Args:
        pred: Boxes (n, 4) as xyxy.
        target: Boxes (n, 4) as xyxy.
        eps: Keeps divisions finite.

    Returns:
        (n,).
    """
    terms = pair_terms(pred, target, eps)
    return 1 - terms.iou + _centre_distance(terms, eps)


@weighted_loss
def ciou_loss(pred: Tensor, target: Tensor, eps: float = 1e-6) -> Tensor:
    """DIoU loss plus a term for the aspect ratio, where the IoU exceeds 0.5 (Complete-IoU, arXiv 2005.03572).

    Args:
        pred: Boxes (n, 4) as xyxy.
        target: Boxes (n, 4) as xyxy.
        eps: Keeps divisions finite.

    Returns:
        (n,).
    """
    terms = pair_terms(pred, target, eps)
    angles = [torch.atan(size[..., 0] / (size[..., 1] + eps)) for size in (terms.pred_size, terms.target_size)]
    aspect = 4 / math.pi**2 * (angles[1] - angles[0]).square()
    with torch.no_grad():
        trade_off = (terms.iou > 0.5) * aspect / (1 - terms.iou + aspect + eps)
    return 1 - terms.iou + _centre_distance(terms, eps) + trade_off * aspect


@weighted_loss
def eiou_loss(pred: Tensor, target: Tensor, smooth_point: float = 0.1, eps: float = 1e-6) -> Tensor:
    """IoU loss whose intersection turns negative for disjoint boxes, with a parabola below ``smooth_point``.

    A Systematic IoU-Related Method: Beyond Simplified Regression for Better Localization (IEEE TIP 2021).

    Args:
        pred: Boxes (n, 4) as xyxy.
        target: Boxes (n, 4) as xyxy.
        smooth_point: Loss below which the parabola replaces the line.
        eps: Keeps the division by the union finite.

    Returns:
        (n,).
    """
    pred, target = float32_if_half(pred, target)
    origin = torch.minimum(pred[..., :2], target[..., :2])
    first = torch.maximum(pred[..., :2], target[..., :2]) - origin
    last = torch.minimum(pred[..., 2:], target[..., 2:]) - origin
    low, high = torch.minimum(first, last), torch.maximum(first, last)
    overlap = last.prod(dim=-1) + low.prod(dim=-1) - first[..., 0] * high[..., 1] - high[..., 0] * first[..., 1]
    terms = pair_terms(pred, target, eps)
    loss = 1 - overlap / (terms.union + terms.overlap - overlap + eps)
    return torch.where(loss < smooth_point, 0.5 * loss.square() / smooth_point, loss - 0.5 * smooth_point)


@weighted_loss
def siou_loss(pred: Tensor, target: Tensor, eps: float = 1e-6, neg_gamma: bool = False) -> Tensor:
    """IoU loss with costs for the angle, the distance and the shape (SIoU Loss, arXiv 2205.12740).

    Args:
        pred: Boxes (n, 4) as xyxy.
        target: Boxes (n, 4) as xyxy.
        eps: Keeps divisions finite.
        neg_gamma: True for the distance cost ``sum(1 - exp(-g * rho))`` of the paper, with ``g = 2 - angle cost``.
            False, the default that existing configs rely on, flips the sign of the exponent, by which the cost turns
            negative with distance.

    Returns:
        (n,), in [0, 2].
    """
    terms = pair_terms(pred, target, eps)
    squared = terms.offset.square()
    # The sine of twice the angle between offset and axis.
    angle_cost = 2 * terms.offset.abs().prod(dim=-1, keepdim=True) / (squared.sum(dim=-1, keepdim=True) + eps)
    gamma = angle_cost - 2 if neg_gamma else 2 - angle_cost
    distance_cost = (1 - torch.exp(gamma * squared / (terms.enclosing.square() + eps))).sum(dim=-1)
    difference = (terms.pred_size - terms.target_size).abs()
    ratio = difference / (torch.maximum(terms.pred_size, terms.target_size) + eps)
    shape_cost = (1 - torch.exp(-ratio)).pow(4).sum(dim=-1)
    return 1 - (terms.iou - (distance_cost + shape_cost) / 2).clamp(min=-1, max=1)


@weighted_loss
def bounded_iou_loss(pred: Tensor, target: Tensor, beta: float = 0.2, eps: float = 1e-3) -> Tensor:
    """Upper bounds of the IoU in each of centre x, centre y, width and height, as a smooth L1 loss.

    Improving Object Localization with Fitness NMS and Bounded IoU Loss, arXiv 1711.00164.

    Args:
        pred: Boxes (n, 4) as xyxy.
        target: Boxes (n, 4) as xyxy; no gradient flows into them.
        beta: Where the parabola of the smooth L1 loss meets the line.
        eps: Keeps divisions finite.

    Returns:
        (n, 4), as (x, y, w, h).
    """
    terms = pair_terms(pred, target.detach(), eps)
    distance = 2 * terms.offset.abs()
    centre = 1 - ((terms.target_size - distance) / (terms.target_size + distance + eps)).clamp(min=0)
    shrunk = terms.pred_size / (terms.target_size + eps)
    grown = terms.target_size / (terms.pred_size + eps)
    bounds = torch.cat([centre, 1 - torch.minimum(shrunk, grown)], dim=-1)
    return torch.where(bounds < beta, 0.5 * bounds.square() / beta, bounds - 0.5 * beta)


class BoxPairLoss(Loss):
    """Base of the losses with one value per pair of boxes; a weight (n, 4) counts with its mean over each row.

    Args:
        eps: Keeps divisions finite.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor of the result.
    """

    def __init__(self, eps: float = 1e-6, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.eps = eps

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Return the weighted and reduced loss.

        Args:
            pred: Boxes (n, 4) as xyxy.
            target: Boxes (n, 4) as xyxy.
            weight: (n,) or (n, 4).
            avg_factor: What ``mean`` divides by, instead of n.
            reduction_override: Reduction of this call.
        """
        if weight is not None and weight.dim() == pred.dim():
            weight = weight.mean(dim=-1)
        return super().forward(pred, target, weight, avg_factor, reduction_override)


@MODELS.register_module()
class IoULoss(BoxPairLoss):
    """IoU loss (UnitBox, arXiv 1608.01471).

    Args:
        linear: Old name of ``mode='linear'``.
        eps: Least value of the IoU.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor of the result.
        mode: ``log``, ``linear`` or ``square``.

    Raises:
        ValueError: ``mode`` is unknown.
    """

    def __init__(
        self,
        linear: bool = False,
        eps: float = 1e-6,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        mode: str = 'log',
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        if mode not in ('log', 'linear', 'square'):
            raise ValueError(f"IoULoss: mode must be 'log', 'linear' or 'square', but got {mode!r}.")
        self.mode = 'linear' if linear else mode

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each pair, (n,)."""
        return iou_loss.__wrapped__(pred, target, self.mode, self.eps)


@MODELS.register_module()
class GIoULoss(BoxPairLoss):
    """Generalised IoU loss (arXiv 1902.09630)."""

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each pair, (n,)."""
        return giou_loss.__wrapped__(pred, target, self.eps)


@MODELS.register_module()
class DIoULoss(BoxPairLoss):
    """Distance IoU loss (arXiv 1911.08287)."""

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each pair, (n,)."""
        return diou_loss.__wrapped__(pred, target, self.eps)


@MODELS.register_module()
class CIoULoss(BoxPairLoss):
    """Complete IoU loss (arXiv 2005.03572)."""

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each pair, (n,)."""
        return ciou_loss.__wrapped__(pred, target, self.eps)


@MODELS.register_module()
class EIoULoss(BoxPairLoss):
    """Extended IoU loss (A Systematic IoU-Related Method, IEEE TIP 2021).

    Args:
        eps: Keeps divisions finite.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor of the result.
        smooth_point: Loss below which a parabola replaces the line; positive.
    """

    def __init__(
        self, eps: float = 1e-6, reduction: str = 'mean', loss_weight: float = 1.0, smooth_point: float = 0.1
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        self.smooth_point = smooth_point

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each pair, (n,)."""
        return eiou_loss.__wrapped__(pred, target, self.smooth_point, self.eps)


@MODELS.register_module()
class SIoULoss(BoxPairLoss):
    """SIoU loss (arXiv 2205.12740).

    Args:
        eps: Keeps divisions finite.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor of the result.
        neg_gamma: Whether the distance cost is the paper's (see ``siou_loss``).
    """

    def __init__(
        self, eps: float = 1e-6, reduction: str = 'mean', loss_weight: float = 1.0, neg_gamma: bool = False
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        self.neg_gamma = neg_gamma

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each pair, (n,)."""
        return siou_loss.__wrapped__(pred, target, self.eps, self.neg_gamma)


@MODELS.register_module()
class BoundedIoULoss(Loss):
    """Bounded IoU loss (arXiv 1711.00164); the loss and ``weight`` are (n, 4).

    Args:
        beta: Where the parabola of the smooth L1 loss meets the line; positive.
        eps: Keeps divisions finite.
        reduction: ``none``, ``mean`` or ``sum``.
        loss_weight: Factor of the result.
    """

    def __init__(self, beta: float = 0.2, eps: float = 1e-3, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.beta = beta
        self.eps = eps

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each bound, (n, 4)."""
        return bounded_iou_loss.__wrapped__(pred, target, self.beta, self.eps)
