"""ATSSAssigner on a case computed by hand. Shown in docs/add_a_dense_head.md."""

import torch
from mmengine.structures import InstanceData

from mmdetlike.models.task_modules import ATSSAssigner
from tests.models.tiny import candidates


def test_anchors_that_overlap_more_than_most_near_ones():
    # four anchors in a row and a large one in the second level
    row = [[x, 0.0, x + 10, 10.0] for x in (0.0, 10.0, 20.0, 30.0)]
    anchors = torch.tensor([*row, [0.0, 0.0, 40.0, 40.0]])
    boxes = torch.tensor([[2.0, 0.0, 12.0, 10.0], [22.0, 0.0, 32.0, 10.0]])
    objects = InstanceData(bboxes=boxes, labels=torch.tensor([1, 0]))
    # IoU of the first object with its near ones: 2/3, 1/9, 0 and 1/16, so mean + deviation is 0.21 + 0.31
    result = ATSSAssigner(topk=3).assign(candidates(anchors, [4, 1]), objects)
    assert result.gt_inds.tolist() == [1, 0, 2, 0, 0]
    assert result.labels.tolist() == [1, -1, 0, -1, -1]
    torch.testing.assert_close(result.max_overlaps[[0, 2]], torch.tensor([2 / 3, 2 / 3]))


def test_an_anchor_whose_centre_is_outside():
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [8.0, 0.0, 18.0, 10.0]])
    objects = InstanceData(bboxes=torch.tensor([[6.0, 0.0, 12.0, 10.0]]), labels=torch.tensor([0]))
    # IoU 1/3 for both, which is the mean and passes, but neither 5 nor 13 lies between 6 and 12
    result = ATSSAssigner(topk=2).assign(candidates(anchors), objects)
    assert result.gt_inds.tolist() == [0, 0]
