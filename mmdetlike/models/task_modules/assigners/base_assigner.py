"""The bases of the assigners and their result, which says for which object each prior is responsible."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry, get_box_tensor


@dataclass
class AssignResult:
    """The object each prior is responsible for.

    Attributes:
        num_gts: Number of objects, m.
        gt_inds: (n,) int64: -1 ignored, 0 background, i > 0 the i-th object, counted from 1.
        max_overlaps: (n,) the overlap with it, or another quality of the match.
        labels: (n,) int64 the class of the object, -1 where there is none.
        assign_metrics: (n,) how well each prior suits its object, of an assigner that measures it.
        matches: (k, 2) priors and objects, counted from 0, of an assigner by which a prior may have several objects.
        shadowed: (k, 2) priors and classes that they do not learn, of an assigner that says so.
    """

    num_gts: int
    gt_inds: Tensor
    max_overlaps: Tensor
    labels: Tensor
    assign_metrics: Tensor | None = None
    matches: Tensor | None = None
    shadowed: Tensor | None = None

    @classmethod
    def from_gt_inds(
        cls, gt_inds: Tensor, max_overlaps: Tensor, gt_labels: Tensor, assign_metrics: Tensor | None = None
    ) -> 'AssignResult':
        """The result of ``gt_inds`` (n,), whose ``labels`` follow from those of the objects, ``gt_labels`` (m,)."""
        return cls(len(gt_labels), gt_inds, max_overlaps, labels_of(gt_inds, gt_labels), assign_metrics)

    @classmethod
    def all_background(cls, priors: Tensor, gt_labels: Tensor) -> 'AssignResult':
        """The result where all priors (n, 4) are background."""
        gt_inds = torch.zeros(len(priors), dtype=torch.long, device=priors.device)
        return cls.from_gt_inds(gt_inds, priors.new_zeros(len(priors)), gt_labels)

    def to(self, device: torch.device) -> Self:
        """The same with all tensors on ``device``."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)

    def add_gt_(self, gt_labels: Tensor) -> None:
        """Prepend the objects themselves as priors, each assigned to itself."""
        # before the priors, as in the toolbox: a seed then draws the same sample
        own = torch.arange(1, len(gt_labels) + 1, dtype=torch.long, device=gt_labels.device)
        self.gt_inds = torch.cat([own, self.gt_inds])
        self.max_overlaps = torch.cat([self.max_overlaps.new_ones(len(own)), self.max_overlaps])
        self.labels = torch.cat([gt_labels, self.labels])


class BaseAssigner:
    """Base of the assigners, which tell for which object each prior of an image is responsible.

    Args:
        iou_calculator: How overlap is measured.
        ignore_iof_thr: Priors that lie in an ignored box by more than this share are ignored; negative switches off.
        ignore_wrt_candidates: Measure that share by the prior's area; by the ignored box's where False.

    Attributes:
        needs_predictions: Whether ``assign`` looks at predictions.
    """

    needs_predictions = False

    def __init__(
        self, iou_calculator: dict | None = None, ignore_iof_thr: float = -1, ignore_wrt_candidates: bool = True
    ) -> None:
        self.iou_calculator = TASK_UTILS.build(iou_calculator or dict(type='BboxOverlaps2D'))
        self.ignore_iof_thr, self.ignore_wrt_candidates = ignore_iof_thr, ignore_wrt_candidates

    @torch.no_grad()
    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Assign m objects to n priors of an image.

        Args:
            pred_instances: A row for each prior. ``priors`` are anchors (n, 4) xyxy or points (n, 2), in pixels; heads
                also give ``points`` (n, 2), the points or the centers of anchors, ``strides`` (n, 2) and ``level_ids``
                (n,), rising. With ``needs_predictions`` there are ``bboxes`` (n, 4) xyxy in pixels and ``scores``
                (n, classes) too.
            gt_instances: ``bboxes`` (m, 4) xyxy in pixels and ``labels`` (m,).
            gt_instances_ignore: ``bboxes`` (k, 4) of regions that are neither objects nor background; a class that says
                nothing of them does not use them.
        """
        return self.match(pred_instances, gt_instances)

    def match(self, pred_instances: InstanceData, gt_instances: InstanceData) -> AssignResult:
        """What ``assign`` returns, of a class that does not use ignored regions; other classes override ``assign``."""
        raise NotImplementedError

    def ignored(self, priors: Tensor, ignore: InstanceData | None) -> Tensor | None:
        """Mask (n,) of the priors that lie in an ignored box; None where nothing is ignored."""
        if self.ignore_iof_thr <= 0 or ignore is None or not len(ignore) or not len(priors):
            return None
        boxes = geometry.as_kind_of(get_box_tensor(ignore.bboxes), priors).to(priors.device)
        if self.ignore_wrt_candidates:
            share = self.iou_calculator(priors, boxes, mode='iof').amax(1)
        else:
            share = self.iou_calculator(boxes, priors, mode='iof').amax(0)
        return share > self.ignore_iof_thr


def labels_of(gt_inds: Tensor, gt_labels: Tensor) -> Tensor:
    """Classes of the objects ``gt_inds`` (n, ...), counted from 1, by those of all, ``gt_labels`` (m,); -1 of none."""
    nobody = torch.full_like(gt_inds, -1)
    # without a list of the positives, whose length a GPU would have to be waited for
    return torch.where(gt_inds > 0, gt_labels[(gt_inds - 1).clamp(min=0)], nobody) if len(gt_labels) else nobody


def points_inside(points: Tensor, boxes: Tensor, margin: float = 0.0) -> Tensor:
    """(n, m) whether points (n, 2) lie in boxes (m, 4 or 5) or (n, m, 4 or 5) by more than ``margin``, in pixels."""
    # the nearest side decides; outside of a box its distance is negative
    return geometry.side_distances(points[:, None], boxes).amin(-1) > margin


def points_near(points: Tensor, strides: Tensor, centers: Tensor, radius: float) -> Tensor:
    """(n, m) whether points (n, 2) lie within ``radius`` of their ``strides`` (n, 2) of centers (m, 2), in x and y."""
    return points_inside(points, geometry.from_centers(centers, radius * strides[:, None]))


def best_object(quality: Tensor, suits: Tensor) -> tuple[Tensor, Tensor]:
    """Choose for each prior the object of the best ``quality`` (n, m) among those that ``suits`` (n, m) allows.

    Returns objects (n,), counted from 1, 0 where none suits, and their quality (n,), -inf where none suits.
    """
    if not quality.shape[1]:  # no objects, of which there is no maximum
        best = quality.new_zeros(len(quality))
        return torch.zeros_like(best, dtype=torch.long), best
    best, gt = torch.where(suits, quality, -torch.inf).max(1)
    return torch.where(best > -torch.inf, gt + 1, 0), best
