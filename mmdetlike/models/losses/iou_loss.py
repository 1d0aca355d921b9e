"""Losses of predicted and target boxes, pair by pair, which share areas, centers and the enclosing box."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import geometry

from .reduction import Loss


class PairTerms(NamedTuple):
    """What the IoU family is made of; sizes and vectors are (n, 2) as (x, y), the others (n,).

    Attributes:
        overlap, union: Areas of intersection and union.
        iou: ``overlap / (union + eps)``.
        enclosing: Size of the smallest box around both.
        offset: From the center of the prediction to that of the target.
        pred_size, target_size: Sizes of prediction and target.
    """

    overlap: Tensor
    union: Tensor
    iou: Tensor
    enclosing: Tensor
    offset: Tensor
    pred_size: Tensor
    target_size: Tensor


def pair_terms(pred: Tensor, target: Tensor, eps: float) -> PairTerms:
    """Compare boxes (n, 4) as xyxy pair by pair, in float32 if they are float16 or bfloat16.

    A ``ValueError`` says where shapes differ or aren't (n, 4).
    """
    if pred.shape != target.shape or pred.shape[-1:] != (4,):
        raise ValueError(
            f'IoU losses compare boxes (n, 4) pair by pair, but got {tuple(pred.shape)} and {tuple(target.shape)}.'
        )
    pred, target = float32_if_half(pred, target)
    pred_size = geometry.sizes(pred)
    target_size = geometry.sizes(target)
    smaller = torch.minimum(pred, target)
    larger = torch.maximum(pred, target)
    # the intersection lies between the larger of the first sides and the smaller of the last ones
    overlap = (smaller[..., 2:] - larger[..., :2]).clamp(min=0).prod(dim=-1)
    union = pred_size.prod(dim=-1) + target_size.prod(dim=-1) - overlap
    return PairTerms(
        overlap=overlap,
        union=union,
        iou=overlap / (union + eps),
        enclosing=larger[..., 2:] - smaller[..., :2],
        offset=(target[..., :2] + target[..., 2:] - pred[..., :2] - pred[..., 2:]) / 2,
        pred_size=pred_size,
        target_size=target_size,
    )


class BoxPairLoss(Loss):
    """Base of the losses of boxes (n, 4) as xyxy, with one value per pair; a weight (n, 4) counts by its row's mean.

    Args:
        eps: Keeps divisions finite.
        reduction, loss_weight: As of ``Loss``.
    """

    def __init__(self, eps: float = 1e-6, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.eps = eps

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each pair, (n,)."""
        return self.of_terms(pair_terms(pred, target, self.eps))

    def of_terms(self, terms: PairTerms) -> Tensor:
        """Return the loss (n,) of pairs of boxes."""
        raise NotImplementedError(f'{type(self).__name__} must define of_terms().')

    def center_distance(self, terms: PairTerms) -> Tensor:
        """Squared distance of the centers over the squared diagonal of the enclosing box, (n,)."""
        return terms.offset.square().sum(dim=-1) / (terms.enclosing.square().sum(dim=-1) + self.eps)

    def reduce(self, loss: Tensor, weight: Tensor | None, *settings) -> Tensor:
        """As ``Loss.reduce``, with a weight of (n,) or (n, 4)."""
        if weight is not None and weight.dim() > loss.dim():
            weight = weight.mean(dim=-1)
        return super().reduce(loss, weight, *settings)


@MODELS.register_module()
class IoULoss(BoxPairLoss):
    """``-log(iou)``, ``1 - iou`` or ``1 - iou ** 2`` (UnitBox, arXiv 1608.01471).

    Args:
        linear: Old name of ``mode='linear'``.
        eps: Least value of the IoU.
        mode: ``log``, ``linear`` or ``square``, else a ``ValueError``.
        reduction, loss_weight: As of ``Loss``.
    """

    def __init__(
        self,
        linear: bool = False,
        eps: float = 1e-6,
        mode: str = 'log',
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        if mode not in ('log', 'linear', 'square'):
            raise ValueError(f"IoULoss: mode must be 'log', 'linear' or 'square', but got {mode!r}.")
        self.mode = 'linear' if linear else mode

    def of_terms(self, terms: PairTerms) -> Tensor:
        # the logarithm of 0 is infinite; a disjoint pair has a large loss without a gradient in all modes
        iou = terms.iou.clamp(min=self.eps)
        if self.mode == 'linear':
            return 1 - iou
        return 1 - iou**2 if self.mode == 'square' else -iou.log()


@MODELS.register_module()
class GIoULoss(BoxPairLoss):
    """``1 - GIoU`` in [0, 2] (Generalized Intersection over Union, arXiv 1902.09630)."""

    def of_terms(self, terms: PairTerms) -> Tensor:
        hull = terms.enclosing.prod(dim=-1)
        return 1 - terms.iou + (hull - terms.union) / (hull + self.eps)


@MODELS.register_module()
class DIoULoss(BoxPairLoss):
    """``1 - IoU`` plus the normalized squared distance of the centers (Distance-IoU Loss, arXiv 1911.08287)."""

    def of_terms(self, terms: PairTerms) -> Tensor:
        return 1 - terms.iou + self.center_distance(terms)


@MODELS.register_module()
class CIoULoss(BoxPairLoss):
    """DIoU loss plus a term for the aspect ratio, where the IoU exceeds 0.5 (Complete-IoU, arXiv 2005.03572)."""

    def of_terms(self, terms: PairTerms) -> Tensor:
        angles = [torch.atan(size[..., 0] / (size[..., 1] + self.eps)) for size in (terms.pred_size, terms.target_size)]
        aspect = 4 / math.pi**2 * (angles[1] - angles[0]).square()
        # the paper's alpha: a constant to the gradient, and 0 until boxes overlap well enough for shapes to matter
        with torch.no_grad():
            trade_off = (terms.iou > 0.5) * aspect / (1 - terms.iou + aspect + self.eps)
        return 1 - terms.iou + self.center_distance(terms) + trade_off * aspect


@MODELS.register_module()
class EIoULoss(BoxPairLoss):
    """IoU loss whose intersection turns negative for disjoint boxes, with a parabola below ``smooth_point``.

    A Systematic IoU-Related Method: Beyond Simplified Regression for Better Localization (IEEE TIP 2021).

    Args:
        smooth_point: Loss below which the parabola replaces the line; positive.
        eps, reduction, loss_weight: As of ``BoxPairLoss``.
    """

    def __init__(
        self,
        smooth_point: float = 0.1,
        eps: float = 1e-6,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        self.smooth_point = smooth_point

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        terms = pair_terms(pred, target, self.eps)
        pred, target = float32_if_half(pred, target)
        origin = torch.minimum(pred[..., :2], target[..., :2])
        first = torch.maximum(pred[..., :2], target[..., :2]) - origin
        last = torch.minimum(pred[..., 2:], target[..., 2:]) - origin
        low = torch.minimum(first, last)
        high = torch.maximum(first, last)
        # The area of the intersection where there is one. Where boxes are disjoint, ``last < first`` along an axis: the
        # sum is negative then and falls with the gap, so that the loss still pulls the boxes together.
        overlap = last.prod(dim=-1) + low.prod(dim=-1) - first[..., 0] * high[..., 1] - high[..., 0] * first[..., 1]
        loss = 1 - overlap / (terms.union + terms.overlap - overlap + self.eps)
        return smooth(loss, self.smooth_point)


@MODELS.register_module()
class SIoULoss(BoxPairLoss):
    """IoU loss with costs for the angle, the distance and the shape, in [0, 2] (SIoU Loss, arXiv 2205.12740).

    Args:
        neg_gamma: True for the distance cost ``sum(1 - exp(-g * rho))`` of the paper, with ``g = 2 - angle cost``.
            False, the default that existing configs rely on, flips the sign of the exponent, by which the cost turns
            negative with distance.
        eps, reduction, loss_weight: As of ``BoxPairLoss``.
    """

    def __init__(
        self,
        neg_gamma: bool = False,
        eps: float = 1e-6,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        self.neg_gamma = neg_gamma

    def of_terms(self, terms: PairTerms) -> Tensor:
        squared = terms.offset.square()
        # the sine of twice the angle between offset and axis: 0 along an axis, 1 along the diagonal
        angle_cost = 2 * terms.offset.abs().prod(dim=-1, keepdim=True) / (squared.sum(dim=-1, keepdim=True) + self.eps)
        gamma = angle_cost - 2 if self.neg_gamma else 2 - angle_cost
        distance_cost = (1 - torch.exp(gamma * squared / (terms.enclosing.square() + self.eps))).sum(dim=-1)
        difference = (terms.pred_size - terms.target_size).abs()
        ratio = difference / (torch.maximum(terms.pred_size, terms.target_size) + self.eps)
        shape_cost = (1 - torch.exp(-ratio)).pow(4).sum(dim=-1)
        return 1 - (terms.iou - (distance_cost + shape_cost) / 2).clamp(min=-1, max=1)


@MODELS.register_module()
class BoundedIoULoss(Loss):
    """Upper bounds of the IoU in each of center x, center y, width and height, as a smooth L1 loss.

    Boxes are (n, 4) as xyxy, loss and ``weight`` (n, 4) as (x, y, w, h); no gradient flows into targets (Improving
    Object Localization with Fitness NMS and Bounded IoU Loss, arXiv 1711.00164).

    Args:
        beta: Where the parabola of the smooth L1 loss meets the line; positive.
        eps, reduction, loss_weight: As of ``BoxPairLoss``.
    """

    def __init__(
        self,
        beta: float = 0.2,
        eps: float = 1e-3,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.beta, self.eps = beta, eps

    def compute(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each bound, (n, 4)."""
        terms = pair_terms(pred, target.detach(), self.eps)
        # the paper's upper bounds of the IoU: at this offset of the centers along each axis, and with these sizes
        distance = 2 * terms.offset.abs()
        center = 1 - ((terms.target_size - distance) / (terms.target_size + distance + self.eps)).clamp(min=0)
        shrunk = terms.pred_size / (terms.target_size + self.eps)
        grown = terms.target_size / (terms.pred_size + self.eps)
        return smooth(torch.cat([center, 1 - torch.minimum(shrunk, grown)], dim=-1), self.beta)


def smooth(loss: Tensor, beta: float) -> Tensor:
    """Replace a loss that is not negative by a parabola below ``beta``, as smooth L1 does."""
    return torch.where(loss < beta, 0.5 * loss.square() / beta, loss - 0.5 * beta)
