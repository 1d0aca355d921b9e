"""CrowdDet: objects of a proposal, suppression between proposals, orders of objects, and errors."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.errors import ConfigError
from mmdetlike.models.data_preprocessors import BatchResize
from mmdetlike.models.heads.roi.multi_instance_roi_head import set_nms
from mmdetlike.models.task_modules.assigners import MultiInstanceAssigner
from mmdetlike.registry import MODELS

from .families import build
from .families.pyramids import crowddet
from .tiny import make_sample

OBJECTS = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60]])
LABELS = torch.tensor([2, 0, 1])


def assigned(priors, objects=OBJECTS, labels=LABELS, ignored=None):
    assigner = MultiInstanceAssigner(pos_iou_thr=0.5, neg_iou_thr=0.5, ignore_iof_thr=0.5)
    objects = InstanceData(bboxes=objects, labels=labels)
    return assigner.assign(InstanceData(priors=torch.tensor(priors)), objects, ignored)


def test_a_proposal_gets_the_objects_it_overlaps_most():
    result = assigned([[0.0, 0, 10, 9], [0, 0, 10, 10], [50, 50, 60, 60], [90, 90, 99, 99]])
    assert result.gt_inds_of_instances.tolist() == [[1, 2], [1, 2], [3, 0], [0, 0]]
    assert result.labels_of_instances.tolist() == [[2, 0], [2, 0], [1, -1], [-1, -1]]
    assert result.gt_inds.tolist() == [1, 1, 3, 0]
    result.add_gt_(LABELS)
    assert result.gt_inds_of_instances[:3].tolist() == [[1, 0], [2, 0], [3, 0]]
    assert result.labels_of_instances[:3].tolist() == [[2, -1], [0, -1], [1, -1]]


def test_fewer_objects_than_places():
    result = assigned([[0.0, 0, 10, 10]], OBJECTS[:1], LABELS[:1])
    assert result.gt_inds_of_instances.tolist() == [[1, 0]]
    result = assigned([[0.0, 0, 10, 10]], OBJECTS[:0], LABELS[:0])
    assert result.gt_inds_of_instances.tolist() == [[0, 0]] and result.gt_inds.tolist() == [0]


def test_ignored_proposals_learn_nothing():
    result = assigned([[0.0, 0, 10, 10]], ignored=InstanceData(bboxes=torch.tensor([[0.0, 0, 20, 20]])))
    assert result.gt_inds_of_instances.tolist() == [[-1, -1]] and result.gt_inds.tolist() == [-1]


def test_predictions_of_one_proposal_do_not_suppress_each_other():
    boxes = OBJECTS[[0, 1, 0, 0]]
    scores = torch.tensor([0.8, 0.7, 0.9, 0.6])
    regions = torch.tensor([0, 0, 1, 2])
    assert set_nms(boxes, scores, regions, torch.tensor([0, 0, 0, 1]), 0.5).tolist() == [2, 3]
    assert set_nms(boxes[:2], scores[:2], regions[:2], torch.zeros(2), 0.5).tolist() == [0, 1]
    assert set_nms(boxes[:0], scores[:0], regions[:0], regions[:0], 0.5).tolist() == []


def test_loss_does_not_depend_on_the_order_of_objects():
    head = build('crowddet').roi_head.bbox_head
    torch.manual_seed(0)
    logits = torch.randn(4, 2, 4)
    deltas = torch.randn(4, 2, 12)
    labels = torch.tensor([[1, 3], [2, 0], [0, 0], [-1, -1]])
    targets = torch.randn(4, 2, 4) * (labels > 0)[..., None]
    loss = head.emd_loss(logits, deltas, labels, targets)
    torch.testing.assert_close(head.emd_loss(logits, deltas, labels.flip(1), targets.flip(1)), loss)
    torch.testing.assert_close(head.emd_loss(logits[:3], deltas[:3], labels[:3], targets[:3]) * 3 / 4, loss)


def test_batch_is_scaled_with_its_objects():
    sample = make_sample([[8.0, 8, 24, 16]], shape=(32, 64))
    images, (sample,) = BatchResize(scale=(100, 48), pad_size_divisor=32)(torch.ones(1, 3, 32, 64), [sample])
    assert images.shape == (1, 3, 64, 96) and sample.batch_input_shape == (64, 96)
    assert sample.img_shape == (48, 96)
    boxes = getattr(sample.gt_instances.bboxes, 'tensor', sample.gt_instances.bboxes)
    assert boxes.tolist() == [[12, 12, 36, 24]]
    assert not images[:, :, 48:].any()


def test_settings_that_do_not_fit_are_named():
    with pytest.raises(ConfigError, match='needs match_low_quality=False and num_instance of at least 1'):
        MultiInstanceAssigner(pos_iou_thr=0.5, neg_iou_thr=0.5, match_low_quality=True)
    cfg = crowddet(3)
    cfg['roi_head']['num_instance'] = 3
    with pytest.raises(ConfigError, match='num_instance=3, got MultiInstanceBBoxHead with num_instance=2'):
        MODELS.build(cfg)
    cfg = crowddet(3)
    cfg['roi_head']['bbox_head']['num_shared_fcs'] = 0
    with pytest.raises(ConfigError, match='with_refine needs shared linear layers, got num_shared_fcs=0'):
        MODELS.build(cfg)
