"""PISA for region heads: ranks, weights that keep the sum of losses, samples without positives, and errors."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.errors import ConfigError
from mmdetlike.models.task_modules import AssignResult, ScoreHLRSampler, weights_of_same_sum
from mmdetlike.registry import MODELS

from .families import build
from .families.pyramids import pisa_faster_rcnn
from .tiny import make_sample

BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60], [50, 50, 60, 61], [80, 80, 90, 90]])


def test_weights_keep_the_sum():
    losses = torch.tensor([1.0, 3.0])
    weights = weights_of_same_sum(torch.tensor([1.0, 0.5]), losses)
    torch.testing.assert_close((weights * losses).sum(), losses.sum())
    assert weights_of_same_sum(torch.ones(2), torch.zeros(2)).tolist() == [1, 1]


def test_negatives_are_ranked_by_cluster_first():
    sampler = ScoreHLRSampler(num=10, pos_fraction=0.5, k=1.0)
    scores = torch.tensor([0.9, 0.8, 0.3, 0.2, 0.01])
    chosen, weights = sampler.prime_negatives(scores, BOXES, torch.ones(5), 5)
    # the best of both clusters, then their seconds; the unlikely one weighs as little as the last
    assert chosen.tolist() == [0, 2, 1, 3, 4]
    torch.testing.assert_close(weights, torch.tensor([5.0, 4, 3, 2, 2]) * 5 / 16)
    chosen, weights = sampler.prime_negatives(scores, BOXES, torch.ones(5), 2)
    assert chosen.tolist() == [0, 2] and len(weights) == 2


def test_negatives_without_likely_ones_are_drawn_at_random():
    sampler = ScoreHLRSampler(num=10, pos_fraction=0.5)
    chosen, weights = sampler.prime_negatives(torch.zeros(5), BOXES, torch.ones(5), 3)
    assert len(set(chosen.tolist())) == 3 and weights.tolist() == [1, 1, 1]


def test_sample_carries_the_weights_of_its_negatives():
    sampler = ScoreHLRSampler(num=4, pos_fraction=0.5, add_gt_as_proposals=False, k=1.0)
    assigned = AssignResult(1, torch.tensor([0, 1, 0, 0, 0]), torch.zeros(5), torch.tensor([-1, 2, -1, -1, -1]))
    priors = InstanceData(priors=BOXES)
    objects = InstanceData(bboxes=BOXES[1:2], labels=torch.tensor([2]))
    scores = torch.tensor([0.2, 0.6, 0.5, 0.4])
    result = sampler.sample(assigned, priors, objects, predict=lambda boxes: (scores, boxes, torch.ones(4)))
    assert result.pos_inds.tolist() == [1] and result.neg_inds.tolist() == [2, 4, 0]
    torch.testing.assert_close(result.class_weights, torch.tensor([1, 4 / 3, 1, 2 / 3]))


def test_a_dense_head_cannot_rank_regions():
    sampler = ScoreHLRSampler(num=4, pos_fraction=0.5)
    assigned = AssignResult(0, torch.zeros(5).long(), torch.zeros(5), torch.full((5,), -1))
    objects = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
    with pytest.raises(ValueError, match='which only PISARoIHead tells it'):
        sampler.sample(assigned, InstanceData(priors=BOXES), objects)


def test_images_without_objects_have_no_box_terms():
    model = build('pisa_faster_rcnn')
    samples = [make_sample(0), make_sample(0, index=1)]
    data = model.data_preprocessor(dict(inputs=[torch.zeros(3, 64, 64)] * 2, data_samples=samples), True)
    losses = model(data['inputs'], data['data_samples'], mode='loss')
    assert float(losses['loss_carl']) == float(losses['loss_bbox']) == 0


def test_the_head_must_have_deltas():
    cfg = pisa_faster_rcnn(3)
    cfg['roi_head']['bbox_head'] = dict(type='SABLHead', num_classes=3, cls_in_channels=8, reg_in_channels=8)
    with pytest.raises(ConfigError, match='PISARoIHead needs a BBoxHead, whose deltas it weighs, got SABLHead'):
        MODELS.build(cfg)
