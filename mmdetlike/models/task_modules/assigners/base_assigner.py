"""What assigners share: how overlap is measured, which priors are ignored, who takes a contested prior."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import bbox2distance, get_box_tensor


class BaseAssigner:
    """Base of the assigners, which say of each prior of an image for which object it is responsible.

    ``assign(pred_instances, gt_instances, gt_instances_ignore)`` gives an ``AssignResult`` for n priors and m objects.
    ``pred_instances`` has ``priors``: (n, 4) xyxy in pixels, of points x, y and the strides of their level.
    ``gt_instances`` has ``bboxes`` (m, 4) xyxy in pixels and ``labels`` (m,), ``gt_instances_ignore`` the ``bboxes``
    (k, 4) of regions that are neither objects nor background; where a class says nothing of them, they are not used.

    An assigner with ``needs_predictions`` wants ``bboxes`` (n, 4) xyxy in pixels and ``scores`` (n, classes) of
    ``pred_instances`` too, one with ``needs_levels`` the number of priors in each level, after ``pred_instances``.

    Args:
        iou_calculator: How overlap is measured.
        ignore_iof_thr: Priors that lie in an ignored box by more than this share are ignored; negative switches off.
        ignore_wrt_candidates: Measure that share by the prior's area; by the ignored box's where False.
    """

    needs_levels = False
    needs_predictions = False

    def __init__(
        self, iou_calculator: dict | None = None, ignore_iof_thr: float = -1, ignore_wrt_candidates: bool = True
    ) -> None:
        self.iou_calculator = TASK_UTILS.build(iou_calculator or dict(type='BboxOverlaps2D'))
        self.ignore_iof_thr, self.ignore_wrt_candidates = ignore_iof_thr, ignore_wrt_candidates

    def ignored(self, priors: Tensor, ignore: InstanceData | None) -> Tensor | None:
        """Mask (n,) of the priors that lie in an ignored box; None where nothing is ignored."""
        if self.ignore_iof_thr <= 0 or ignore is None or not len(ignore) or not len(priors):
            return None
        boxes = get_box_tensor(ignore.bboxes).to(priors.device)
        if self.ignore_wrt_candidates:
            share = self.iou_calculator(priors, boxes, mode='iof').amax(1)
        else:
            share = self.iou_calculator(boxes, priors, mode='iof').amax(0)
        return share > self.ignore_iof_thr


def points_inside(points: Tensor, boxes: Tensor, margin: float = 0.0) -> Tensor:
    """(n, m) whether points (n, 2) lie in boxes (m, 4) or (n, m, 4) by more than ``margin``, in pixels."""
    return bbox2distance(points[:, None], boxes).amin(-1) > margin


def best_object(quality: Tensor, suits: Tensor) -> tuple[Tensor, Tensor]:
    """Of the objects that suit a prior (n, m) the one of the best quality (n, m).

    Returns:
        Objects (n,), counted from 1, 0 where none suits, and their quality (n,), -inf where none suits.
    """
    if not quality.shape[1]:
        best = quality.new_zeros(len(quality))
        return torch.zeros_like(best, dtype=torch.long), best
    best, gt = torch.where(suits, quality, -torch.inf).max(1)
    return torch.where(best > -torch.inf, gt + 1, 0), best
