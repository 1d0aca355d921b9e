"""Assign by the middle of objects: FSAF, arXiv 1903.00621."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry, get_box_tensor

from .base_assigner import AssignResult, BaseAssigner, best_object, points_inside


@TASK_UTILS.register_module()
class CenterRegionAssigner(BaseAssigner):
    """Give each anchor the smallest object in whose core it lies; what lies in a shadow doesn't learn its class.

    The core is the object's box, shrunk around its center by ``pos_scale``. An anchor lies in it if its center is in
    the object and enough of it in the core. It lies in the shadow if enough of it is in the box shrunk by
    ``neg_scale``, or in the core of an object that lost it to a smaller one.

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
        in_core = self._enough(priors, shrunk(boxes, self.pos_scale)) & points_inside(centers, boxes)
        areas = geometry.areas(boxes)
        # the smallest object wins: a large one has other anchors
        gt_inds, _ = best_object(-areas.expand(len(priors), -1), in_core)
        is_own = gt_inds[:, None] == torch.arange(1, len(boxes) + 1, device=gt_inds.device)
        # an object shadows what lies around its core, and what a smaller object took from it
        in_shadow = self._enough(priors, shrunk(boxes, self.neg_scale)) | in_core
        rows, objects = (in_shadow & ~is_own).nonzero(as_tuple=True)
        shadowed = torch.stack([rows, gt_instances.labels[objects]], 1)
        labels = AssignResult.from_gt_inds(gt_inds, gt_inds, gt_instances.labels).labels
        is_both = labels[shadowed[:, 0]] == shadowed[:, 1]
        if self.foreground_dominate:
            shadowed = shadowed[~is_both]
        else:
            gt_inds[shadowed[is_both, 0]] = 0
        if gt_instances_ignore is not None and len(gt_instances_ignore):
            ignored_boxes = shrunk(get_box_tensor(gt_instances_ignore.bboxes), self.ignore_gt_scale)
            gt_inds[points_inside(centers, ignored_boxes).any(1)] = -1
        result = AssignResult.from_gt_inds(gt_inds, (gt_inds > 0).to(priors.dtype), gt_instances.labels)
        result.shadowed = shadowed
        return result

    def _enough(self, priors: Tensor, boxes: Tensor) -> Tensor:
        """(n, m) whether enough of each prior lies in each box."""
        return self.iou_calculator(priors, boxes, mode='iof') > self.min_pos_iof


def shrunk(boxes: Tensor, scale: float) -> Tensor:
    """Boxes (m, 4) xyxy with the same centers and sides ``scale`` times as long."""
    centers = geometry.centers(boxes)
    halves = geometry.sizes(boxes) / 2 * scale
    return torch.cat([centers - halves, centers + halves], 1)
