"""Dynamic R-CNN: thresholds and losses that follow the proposals."""

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.roi.dynamic_roi_head import kth_largest
from mmdetlike.models.heads.roi.stage import StageResult
from mmdetlike.registry import MODELS
from tests.models.families import FAMILIES, build
from tests.models.tiny import sampling


def result(overlaps, offsets):
    """The result of a stage with so many proposals beside objects of 10 pixels, by so many tenths of their size."""
    gts = torch.tensor([[0.0, 0, 10, 10]])
    boxes = gts + torch.tensor(offsets)[:, None]
    sampled = sampling(boxes, [1] * len(offsets), gts)
    sampled.assign_result.max_overlaps = torch.tensor(overlaps)
    return StageResult({}, None, [sampled])


def test_thresholds_and_beta_follow_the_proposals():
    head = build('dynamic_rcnn').roi_head
    head.stage_cfgs[0].dynamic_rcnn.update(iou_topk=2, beta_topk=2, update_iter_interval=3, initial_iou=0.4)
    for overlaps, offsets in (([0.9, 0.7, 0.1], [0.1, 0.2, 0.9]), ([0.5, 0.8], [0.3]), ([0.6], [0.4, 0.2])):
        assert head.assigners[0].pos_iou_thr == 0.5 and head.bbox_head.loss_bbox.beta == 1.0
        head.observe(0, result(overlaps, offsets))
    # second largest overlaps 0.7, 0.5 and, of one proposal, 0.6; second smallest errors 2, 3 and 4 tenths of a
    # tenth of the size
    assert head.assigners[0].pos_iou_thr == pytest.approx(0.6)
    assert head.assigners[0].min_pos_iou == head.assigners[0].neg_range[1] == head.assigners[0].pos_iou_thr
    assert head.bbox_head.loss_bbox.beta == pytest.approx(0.3)
    assert head.iou_history == head.beta_history == []


def test_limits():
    head = build('dynamic_rcnn').roi_head
    head.observe(0, result([0.1], [9.0]))
    assert head.assigners[0].pos_iou_thr == 0.4 and head.bbox_head.loss_bbox.beta == 1.0
    head.observe(0, result([0.1], [0.0]))
    assert head.bbox_head.loss_bbox.beta == 1.0
    assert kth_largest(torch.zeros(0), 3) == 0


def test_what_is_needed():
    cfg = FAMILIES['dynamic_rcnn'](3)
    train = dict(cfg['train_cfg']['rcnn'], dynamic_rcnn=dict(iou_topk=5))
    with pytest.raises(ConfigError, match=r'dynamic_rcnn lacks beta_topk, update_iter_interval, initial_iou'):
        MODELS.build(dict(cfg['roi_head'], train_cfg=train))
    head = dict(cfg['roi_head']['bbox_head'], loss_bbox=dict(type='L1Loss'))
    with pytest.raises(ConfigError, match='adapts beta of a SmoothL1Loss, but loss_bbox is L1Loss'):
        MODELS.build(dict(cfg['roi_head'], bbox_head=head))
