"""Assigners by where priors lie in objects and how large these are, whatever is predicted there."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry, get_box_tensor

from .base_assigner import AssignResult, BaseAssigner, best_object, labels_of, points_inside, points_near


class GeometricAssigner(BaseAssigner):
    """Base of the assigners that choose by the place and size of objects alone, which are axis-aligned boxes."""

    def objects_of_priors(self, pred_instances: InstanceData, gt_instances: InstanceData, boxes: Tensor) -> Tensor:
        """The object (n,) of each prior, as in ``AssignResult.gt_inds``; ``boxes`` (m, 4) are those of the objects."""
        raise NotImplementedError

    def match(self, pred_instances: InstanceData, gt_instances: InstanceData) -> AssignResult:
        boxes = geometry.require_horizontal(get_box_tensor(gt_instances.bboxes), type(self).__name__)
        gt_inds = self.objects_of_priors(pred_instances, gt_instances, boxes)
        return AssignResult.from_gt_inds(gt_inds, (gt_inds > 0).to(boxes.dtype), gt_instances.labels)


@TASK_UTILS.register_module()
class PointRangeAssigner(GeometricAssigner):
    """Give each point the smallest of the objects that it lies in and that are of its level's size: FCOS, 1904.01355.

    Objects have ``centers`` (m, 2) where these are not those of their boxes.

    Args:
        regress_ranges: For each level the range of an object's largest distance from the point, in pixels.
        center_sample_radius: Take only points within this many strides of the object's center; None takes all.
    """

    def __init__(
        self, regress_ranges: Sequence[tuple[float, float]], center_sample_radius: float | None = None
    ) -> None:
        super().__init__()
        self.regress_ranges, self.center_sample_radius = regress_ranges, center_sample_radius

    def objects_of_priors(self, pred_instances: InstanceData, gt_instances: InstanceData, boxes: Tensor) -> Tensor:
        points = pred_instances.points
        distances = geometry.side_distances(points[:, None], boxes)
        suits = distances.amin(-1) > 0
        if self.center_sample_radius is not None:
            centers = gt_instances.get('centers', geometry.centers(boxes))
            suits &= points_near(points, pred_instances.strides, centers, self.center_sample_radius)
        suits &= in_range_of_level(distances.amax(-1), self.regress_ranges, pred_instances.level_ids, 'regress_ranges')
        return smallest_object(geometry.areas(boxes), suits)


@TASK_UTILS.register_module()
class PointAssigner(GeometricAssigner):
    """Give each object the points nearest to its center, on the level of its size: RepPoints, arXiv 1904.11490.

    The level of an object of sides w and h is that of the stride 2 ** floor(log2(sqrt(w * h) / scale)). A contested
    point goes to the nearer object, by distances in sides of the object.

    Args:
        scale: Side of an object over the stride of its level, at least; see above.
        pos_num: Points of each object.
    """

    def __init__(self, scale: float = 4, pos_num: int = 3) -> None:
        super().__init__()
        self.scale, self.pos_num = scale, pos_num

    def objects_of_priors(self, pred_instances: InstanceData, gt_instances: InstanceData, boxes: Tensor) -> Tensor:
        # distances are divided by sides, which some boxes lack
        sides = geometry.sizes(boxes).clamp(min=1e-6)
        distances = ((pred_instances.points[:, None] - geometry.centers(boxes)) / sides).norm(dim=-1)
        on_level = self._on_level(pred_instances.strides[:, 0], sides)
        gt_inds, _ = best_object(-distances, on_level & self._nearest(distances, on_level))
        return gt_inds

    def _on_level(self, strides: Tensor, sides: Tensor) -> Tensor:
        """(n, m) whether points with ``strides`` (n,) are on the level of objects with ``sides`` (m, 2)."""
        levels = strides.log2().int()
        # truncated, then clipped to the levels that there are
        gt_levels = (sides / self.scale).log2().mean(-1).int().clamp(levels.min(), levels.max())
        return levels[:, None] == gt_levels

    def _nearest(self, distances: Tensor, candidates: Tensor) -> Tensor:
        """(n, m) whether a point is among the ``pos_num`` nearest of the ``candidates`` (n, m) of an object."""
        count = min(self.pos_num, len(distances))
        chosen = torch.where(candidates, distances, torch.inf).topk(count, dim=0, largest=False).indices
        return torch.zeros_like(candidates).scatter_(0, chosen, True)


@TASK_UTILS.register_module()
class FoveaAssigner(GeometricAssigner):
    """Give each point the smallest of the objects in whose fovea it lies and that are of its level's size.

    The fovea is the object's box, shrunk around its center. One beyond the outermost points has the nearest of these
    (FoveaBox, arXiv 1904.03797).

    Args:
        scale_ranges: For each level the range of an object's size, the root of its area in pixels.
        sigma: Size of the fovea over that of the object.
    """

    def __init__(self, scale_ranges: Sequence[tuple[float, float]], sigma: float = 0.4) -> None:
        super().__init__()
        self.scale_ranges, self.sigma = scale_ranges, sigma

    def objects_of_priors(self, pred_instances: InstanceData, gt_instances: InstanceData, boxes: Tensor) -> Tensor:
        level_ids = pred_instances.level_ids
        sizes = geometry.areas(boxes).sqrt()
        suits = in_range_of_level(sizes, self.scale_ranges, level_ids, 'scale_ranges')
        suits &= self._in_fovea(pred_instances.points, level_ids, boxes)
        return smallest_object(sizes, suits)

    def _in_fovea(self, points: Tensor, level_ids: Tensor, boxes: Tensor) -> Tensor:
        """(n, m) whether points lie in the foveas of objects."""
        fovea = geometry.resized(boxes, self.sigma)
        levels = level_ids.unique_consecutive().tolist()
        first = torch.stack([points[level_ids == level].amin(0) for level in levels])[level_ids]
        last = torch.stack([points[level_ids == level].amax(0) for level in levels])[level_ids]
        # an object between the outermost points and the border would have no point: it gets the nearest ones
        low = torch.minimum(fovea[:, :2], last[:, None])
        high = torch.maximum(fovea[:, 2:], first[:, None])
        return ((points[:, None] >= low) & (points[:, None] <= high)).all(-1)


@TASK_UTILS.register_module()
class RegionAssigner(GeometricAssigner):
    """Give each object the priors in the middle of its box, on the level whose anchors are nearest to its size.

    What lies around the middle is ignored there and on the two neighboring levels. Of objects that overlap the last
    one decides. Priors are square anchors of as many strides on each level (Guided Anchoring, arXiv 1901.03278).

    Args:
        center_ratio: Sides of the middle, over those of the box.
        ignore_ratio: Sides of what is ignored, over those of the box; a ``ValueError`` if below ``center_ratio``.
    """

    def __init__(self, center_ratio: float = 0.2, ignore_ratio: float = 0.5) -> None:
        super().__init__()
        if ignore_ratio < center_ratio:
            raise ValueError(f'ignore_ratio must be at least center_ratio={center_ratio}, got {ignore_ratio}')
        self.center_ratio, self.ignore_ratio = center_ratio, ignore_ratio

    def objects_of_priors(self, pred_instances: InstanceData, gt_instances: InstanceData, boxes: Tensor) -> Tensor:
        priors = get_box_tensor(pred_instances.priors)
        level_ids = pred_instances.level_ids
        gt_inds = torch.zeros_like(level_ids)
        if not len(boxes) or not len(priors):
            return gt_inds
        num_levels = int(level_ids[-1]) + 1
        # the level of the nearest anchors, which are twice as wide on the next one
        growth = geometry.areas(boxes).sqrt().log2() - geometry.sizes(priors).min().log2()
        gt_levels = (growth + 0.5).floor().long().clamp(0, num_levels - 1)
        for level in range(num_levels):
            rows = (level_ids == level).nonzero().squeeze(1)
            strides = pred_instances.strides[rows]
            in_cells = boxes / strides[:1].repeat(1, 2)
            gt_inds[rows] = self._assign_level(pred_instances.points[rows] / strides, in_cells, gt_levels - level)
        return gt_inds

    def _assign_level(self, points: Tensor, boxes: Tensor, steps: Tensor) -> Tensor:
        """Objects (n,) of a level's points, as in ``AssignResult``; ``steps`` (m,) lead to the levels of objects."""
        order = torch.arange(1, len(boxes) + 1, device=boxes.device)
        center = in_middle(points, boxes, self.center_ratio) & (steps == 0)
        around = in_middle(points, boxes, self.ignore_ratio)
        taken = (center * order).amax(1)
        last = (around & (steps == 0)).mul(order).amax(1)
        # the middle of an object counts unless a later object covers it with what is ignored around its own
        gt_inds = torch.where(taken == last, taken, -1)
        is_near = (around & (steps.abs() == 1)).any(1)
        return torch.where((gt_inds == 0) & is_near, -1, gt_inds)


def in_middle(points: Tensor, boxes: Tensor, ratio: float) -> Tensor:
    """(n, m) whether points (n, 2) lie in the middle of boxes (m, 4), whose sides are ``ratio`` of theirs, rounded."""
    margin = (1 - ratio) / 2
    # rounded to whole cells, as the original does
    low = ((1 - margin) * boxes[:, :2] + margin * boxes[:, 2:]).round()
    high = (margin * boxes[:, :2] + (1 - margin) * boxes[:, 2:]).round()
    return ((points[:, None] >= low) & (points[:, None] <= high)).all(-1)


@TASK_UTILS.register_module()
class CenterRegionAssigner(BaseAssigner):
    """Give each anchor the smallest object in whose core it lies; what lies in a shadow doesn't learn its class.

    The core is the object's box, shrunk around its center by ``pos_scale``. An anchor lies in it if its center is in
    the object and enough of it in the core. It lies in the shadow if enough of it is in the box shrunk by
    ``neg_scale``, or in the core of an object that lost it to a smaller one (FSAF, arXiv 1903.00621).

    Args:
        pos_scale: Size of the core over that of the object.
        neg_scale: Size of the shadow over that of the object.
        min_pos_iof: Share of an anchor that is enough.
        ignore_gt_scale: Size of the part of ignored boxes in which centers of anchors are ignored.
        foreground_dominate: What becomes of an anchor in the core of one object and the shadow of another of its class:
            it learns the one if True, else it learns of this class nothing.
        iou_calculator: How shares are measured.
    """

    def __init__(
        self,
        pos_scale: float,
        neg_scale: float,
        min_pos_iof: float = 1e-2,
        ignore_gt_scale: float = 0.5,
        foreground_dominate: bool = False,
        iou_calculator: dict | None = None,
    ) -> None:
        super().__init__(iou_calculator)
        self.foreground_dominate = foreground_dominate
        self.pos_scale, self.neg_scale = pos_scale, neg_scale
        self.min_pos_iof, self.ignore_gt_scale = min_pos_iof, ignore_gt_scale

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """See ``BaseAssigner``; ``shadowed`` of the result has the shadows."""
        priors = get_box_tensor(pred_instances.priors)
        boxes = geometry.require_horizontal(get_box_tensor(gt_instances.bboxes), type(self).__name__)
        centers = geometry.centers(priors)
        in_core = self._enough(priors, geometry.resized(boxes, self.pos_scale)) & points_inside(centers, boxes)
        gt_inds = smallest_object(geometry.areas(boxes), in_core)
        is_own = gt_inds[:, None] == torch.arange(1, len(boxes) + 1, device=gt_inds.device)
        # an object shadows what lies around its core, and what a smaller object took from it
        in_shadow = self._enough(priors, geometry.resized(boxes, self.neg_scale)) | in_core
        rows, objects = (in_shadow & ~is_own).nonzero(as_tuple=True)
        shadowed = torch.stack([rows, gt_instances.labels[objects]], 1)
        labels = labels_of(gt_inds, gt_instances.labels)
        is_both = labels[shadowed[:, 0]] == shadowed[:, 1]
        if self.foreground_dominate:
            shadowed = shadowed[~is_both]
        else:
            gt_inds[shadowed[is_both, 0]] = 0
        if gt_instances_ignore is not None and len(gt_instances_ignore):
            ignored_boxes = geometry.resized(get_box_tensor(gt_instances_ignore.bboxes), self.ignore_gt_scale)
            gt_inds[points_inside(centers, ignored_boxes).any(1)] = -1
        result = AssignResult.from_gt_inds(gt_inds, (gt_inds > 0).to(priors.dtype), gt_instances.labels)
        result.shadowed = shadowed
        return result

    def _enough(self, priors: Tensor, boxes: Tensor) -> Tensor:
        """(n, m) whether enough of each prior lies in each box."""
        return self.iou_calculator(priors, boxes, mode='iof') > self.min_pos_iof


def smallest_object(sizes: Tensor, suits: Tensor) -> Tensor:
    """(n,) the smallest object by ``sizes`` (m,) that ``suits`` (n, m) allows, as of ``best_object``.

    A larger one has other priors.
    """
    gt_inds, _ = best_object(-sizes.expand_as(suits), suits)
    return gt_inds


def in_range_of_level(values: Tensor, ranges: Sequence[tuple[float, float]], level_ids: Tensor, name: str) -> Tensor:
    """(n, m) whether ``values`` (n, m) or (m,) are in the one of ``ranges`` that belongs to the level (n,) of a prior.

    A ``ValueError`` names the ranges by ``name`` where there is another number of levels than of them.
    """
    num_levels = int(level_ids.amax()) + 1
    if num_levels != len(ranges):
        raise ValueError(f'{name} has {len(ranges)} entries, got {num_levels} levels')
    low, high = values.new_tensor(ranges)[level_ids].split(1, dim=1)
    return (values >= low) & (values <= high)
