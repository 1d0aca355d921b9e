"""Assign points by the middle of objects: FoveaBox, arXiv 1904.03797."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import geometry, get_box_tensor

from .assign_result import AssignResult
from .base_assigner import BaseAssigner, best_object


@TASK_UTILS.register_module()
class FoveaAssigner(BaseAssigner):
    """Give each point the smallest of the objects in whose fovea it lies and that are of its level's size.

    The fovea is the object's box, shrunk around its center. One beyond the outermost points has the nearest of these.

    Args:
        scale_ranges: For each level the range of an object's size, the root of its area in pixels.
        sigma: Size of the fovea over that of the object.
    """

    def __init__(self, scale_ranges: Sequence[tuple[float, float]], sigma: float = 0.4) -> None:
        super().__init__()
        self.scale_ranges, self.sigma = scale_ranges, sigma

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """See ``BaseAssigner``.

        Raises:
            ValueError: There is another number of levels than of ``scale_ranges``.
        """
        level_ids = pred_instances.level_ids
        boxes = geometry.require_horizontal(get_box_tensor(gt_instances.bboxes), type(self).__name__)
        num_levels = int(level_ids.amax()) + 1
        if num_levels != len(self.scale_ranges):
            raise ValueError(f'scale_ranges has {len(self.scale_ranges)} entries, got {num_levels} levels')
        sizes = geometry.areas(boxes).sqrt()
        low, high = boxes.new_tensor(self.scale_ranges)[level_ids].split(1, dim=1)
        suits = self._in_fovea(pred_instances.points, level_ids, boxes) & (sizes >= low) & (sizes <= high)
        gt_inds, _ = best_object(-sizes.expand(len(level_ids), -1), suits)
        return AssignResult.from_gt_inds(gt_inds, (gt_inds > 0).to(boxes.dtype), gt_instances.labels)

    def _in_fovea(self, points: Tensor, level_ids: Tensor, boxes: Tensor) -> Tensor:
        """(n, m) whether points lie in the foveas of objects."""
        centers = geometry.centers(boxes)
        halves = geometry.sizes(boxes) / 2 * self.sigma
        levels = level_ids.unique_consecutive().tolist()
        first = torch.stack([points[level_ids == level].amin(0) for level in levels])[level_ids]
        last = torch.stack([points[level_ids == level].amax(0) for level in levels])[level_ids]
        # an object between the outermost points and the border would have no point: it gets the nearest ones
        low = torch.minimum(centers - halves, last[:, None])
        high = torch.maximum(centers + halves, first[:, None])
        return ((points[:, None] >= low) & (points[:, None] <= high)).all(-1)
