"""YOLOF: equally many anchors for every object, and objectness within the class logits."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.models.necks import DilatedEncoder
from mmdetlike.models.task_modules import UniformAssigner
from tests.models.families import build
from tests.models.tiny import candidates

ANCHORS = torch.tensor([[8.0 * i, 0, 8.0 * i + 16, 16] for i in range(6)])


def assign(boxes, predicted=ANCHORS, **settings):
    rows = candidates(ANCHORS, bboxes=predicted, scores=torch.zeros(6, 1))
    objects = InstanceData(bboxes=torch.tensor(boxes), labels=torch.zeros(len(boxes), dtype=torch.long))
    settings = dict(dict(pos_ignore_thr=0.15, neg_ignore_thr=0.7, match_times=2), **settings)
    return UniformAssigner(**settings).assign(rows, objects)


def test_nearest_anchors_and_anchors_of_the_nearest_boxes():
    # what the last two anchors predict is nearest
    predicted = torch.cat([ANCHORS[:4] + 200, ANCHORS[:2]])
    result = assign([[0.0, 0.0, 16.0, 16.0]], predicted, pos_ignore_thr=0.0, neg_ignore_thr=2.0)
    assert result.gt_inds.tolist() == [1, 1, 0, 0, 1, 1]
    assert sorted(result.matches.tolist()) == [[0, 0], [1, 0], [4, 0], [5, 0]]


def test_matches_that_overlap_too_little_are_ignored():
    result = assign([[0.0, 0.0, 16.0, 16.0]], pos_ignore_thr=0.5)
    # IoU of the second anchor: 1/3
    assert result.gt_inds.tolist() == [1, -1, 0, 0, 0, 0]
    # once by its place, once by its prediction
    assert result.matches.tolist() == [[0, 0], [0, 0]]


def test_unmatched_anchors_whose_boxes_overlap_an_object_are_ignored():
    predicted = ANCHORS.clone()
    predicted[5] = predicted[0] + 1
    result = assign([[0.0, 0.0, 16.0, 16.0]], predicted, match_times=1)
    assert result.gt_inds.tolist() == [1, 0, 0, 0, 0, -1]


def test_of_several_objects_the_one_further_down_the_list_wins():
    result = assign([[0.0, 0.0, 16.0, 16.0], [1.0, 0.0, 17.0, 16.0]], match_times=1)
    assert result.gt_inds.tolist() == [2, 0, 0, 0, 0, 0]
    assert result.matches.tolist() == [[0, 0], [0, 1], [0, 0], [0, 1]]  # it learns the boxes of both


def test_scores_are_products_of_class_and_objectness():
    head = build('yolof').bbox_head
    x = torch.randn(1, 8, 3, 2)
    with torch.no_grad():
        joint = head.forward_level(0, x)[0].view(1, 2, 3, 3, 2)
        classes = head.cls_score(head.cls_subnet(x)).view(1, 2, 3, 3, 2)
        objectness = head.object_pred(head.bbox_subnet(x)).view(1, 2, 1, 3, 2)
    torch.testing.assert_close(joint.sigmoid(), classes.sigmoid() * objectness.sigmoid())


def test_a_dilation_for_each_block():
    with pytest.raises(ValueError, match=r'num_residual_blocks=4 .* got block_dilations=\[2, 4\]'):
        DilatedEncoder(8, 8, 4, 4, [2, 4])
