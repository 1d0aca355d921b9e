"""One prediction for each object, at the least total cost: DETR, arXiv 2005.12872."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import TASK_UTILS

from .base_assigner import AssignResult, BaseAssigner

# in place of costs that are not finite, which the solver refuses
WORST = 1e5


@TASK_UTILS.register_module()
class HungarianAssigner(BaseAssigner):
    """Match predictions and objects one to one, at the least total cost.

    Args:
        match_costs: Costs that are added up; a ``ValueError`` if there is none.
    """

    needs_predictions = True

    def __init__(self, match_costs: Sequence[dict] | dict) -> None:
        costs = [match_costs] if isinstance(match_costs, dict) else list(match_costs)
        if not costs:
            raise ValueError('match_costs must hold at least one cost, got none')
        super().__init__()
        self.match_costs = [TASK_UTILS.build(cost) for cost in costs]

    def match(self, pred_instances: InstanceData, gt_instances: InstanceData) -> AssignResult:
        """Assign objects to predictions; those that match nothing are background.

        Args:
            pred_instances: What the costs need of n predictions: ``scores`` (logits), ``bboxes`` (n, 4) xyxy in
                pixels, ``masks``; their metainfo has ``img_shape`` where a cost is about shares of the image.
            gt_instances: ``labels`` (m,) and what the costs need, ``bboxes`` or ``masks``.
        """
        num_preds = len(pred_instances)
        labels = gt_instances.labels
        gt_inds = torch.zeros(num_preds, dtype=torch.long, device=labels.device)
        if len(labels) and num_preds:
            costs = [cost(pred_instances, gt_instances, pred_instances.metainfo) for cost in self.match_costs]
            rows, columns = (inds.to(labels.device) for inds in cheapest(sum(costs)))
            gt_inds[rows] = columns + 1
        return AssignResult.from_gt_inds(gt_inds, torch.zeros(num_preds, device=labels.device), labels)


def cheapest(cost: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of the cheapest one-to-one assignment of a matrix, on the CPU; NaN counts as the worst."""
    from scipy.optimize import linear_sum_assignment  # here, as only training of such detectors needs it

    cost = torch.nan_to_num(cost.detach().float().cpu(), nan=WORST, posinf=WORST, neginf=-WORST)
    rows, columns = linear_sum_assignment(cost.numpy())
    return torch.from_numpy(rows), torch.from_numpy(columns)
