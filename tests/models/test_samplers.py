"""RandomSampler, PseudoSampler and what a SamplingResult tells."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.models.task_modules import AssignResult, PseudoSampler, RandomSampler, SamplingResult
from mmdetlike.structures.bbox import HorizontalBoxes


def case(positives=10, negatives=30, ignored=5, gts=2):
    """Priors that are told apart by x1, in the order positives, negatives, ignored."""
    count = positives + negatives + ignored
    gt_inds = torch.tensor([1 + i % max(gts, 1) for i in range(positives)] + [0] * negatives + [-1] * ignored)
    start = torch.arange(count, dtype=torch.float32)
    priors = torch.stack([start, start, start + 1, start + 1], dim=1)
    labels = torch.where(gt_inds > 0, gt_inds + 6, -1)
    result = AssignResult(gts, gt_inds.long(), torch.rand(count), labels.long())
    gt_boxes = torch.arange(gts * 4, dtype=torch.float32).reshape(gts, 4) + 1000
    return result, InstanceData(priors=priors), InstanceData(bboxes=gt_boxes, labels=torch.arange(gts) + 7)


@pytest.mark.parametrize(
    'num, fraction, neg_pos_ub, expected',
    [
        (16, 0.5, -1, (8, 8)),
        (16, 0.25, -1, (4, 12)),
        (100, 0.5, -1, (10, 30)),  # fewer than wanted: all of them
        (30, 0.5, -1, (10, 20)),  # negatives fill up for missing positives
        (16, 0.5, 1, (8, 8)),
        (16, 0.25, 2, (4, 8)),
        (16, 0.25, 1.5, (4, 6)),
        (16, 0.0, 5, (0, 5)),  # without positives the limit counts from one
    ],
)
def test_counts(num, fraction, neg_pos_ub, expected):
    result = RandomSampler(num, fraction, neg_pos_ub, add_gt_as_proposals=False).sample(*case())
    assert (len(result.pos_inds), len(result.neg_inds)) == expected
    assert set(result.pos_inds.tolist()) <= set(range(10))
    assert set(result.neg_inds.tolist()) <= set(range(10, 40))
    assert len(set(result.pos_inds.tolist())) == expected[0] and len(set(result.neg_inds.tolist())) == expected[1]


def test_seed_decides():
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        result = RandomSampler(16, 0.5).sample(*case())
        draws.append((result.pos_inds.tolist(), result.neg_inds.tolist()))
    assert draws[0] == draws[1] != draws[2]


def test_every_prior_is_equally_likely():
    torch.manual_seed(0)
    sampler, counts = RandomSampler(8, 0.5, add_gt_as_proposals=False), torch.zeros(45)
    for _ in range(500):
        result = sampler.sample(*case())
        counts[result.pos_inds] += 1
        counts[result.neg_inds] += 1
    assert counts[40:].sum() == 0
    torch.testing.assert_close(counts[:10], torch.full((10,), 200.0), atol=50, rtol=0)
    torch.testing.assert_close(counts[10:40], torch.full((30,), 500 * 4 / 30), atol=40, rtol=0)


def test_objects_as_proposals():
    assigned, priors, gts = case(positives=0, negatives=3, ignored=0)
    result = RandomSampler(10, 0.5).sample(assigned, priors, gts)
    assert result.pos_inds.tolist() == [0, 1] and result.neg_inds.tolist() == [2, 3, 4]
    assert torch.equal(result.pos_priors, gts.bboxes) and torch.equal(result.pos_gt_bboxes, gts.bboxes)
    assert result.pos_is_gt.tolist() == [True, True] and result.is_gt.tolist() == [True, True, False, False, False]
    assert result.pos_gt_labels.tolist() == [7, 8]
    assert len(priors) == 3  # the caller's priors stay as they were


def test_image_without_objects():
    assigned, priors, _ = case(positives=0, negatives=4, ignored=0, gts=0)
    gts = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    for add_gt in (False, True):
        result = RandomSampler(3, 0.5, add_gt_as_proposals=add_gt).sample(assigned, priors, gts)
        assert (len(result.pos_inds), len(result.neg_inds)) == (0, 3)
        assert result.pos_gt_bboxes.shape == (0, 4) and len(result.pos_gt_labels) == 0


def test_no_proposals_at_all():
    assigned = AssignResult(0, torch.zeros(0).long(), torch.zeros(0), torch.zeros(0).long())
    gts = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    result = RandomSampler(4, 0.5).sample(assigned, InstanceData(priors=torch.zeros(0, 4)), gts)
    assert result.sampled_priors.shape == (0, 4) and result.avg_factor == 2


def test_random_choice_keeps_a_small_gallery():
    gallery = torch.tensor([4, 2, 9])
    assert torch.equal(RandomSampler.random_choice(gallery, 3), gallery)
    chosen = RandomSampler.random_choice(gallery, 2)
    assert len(chosen) == 2 and set(chosen.tolist()) < {2, 4, 9}


def test_pseudo_sampler_takes_all_but_the_ignored():
    assigned, priors, gts = case()
    result = PseudoSampler().sample(assigned, priors, gts)
    assert result.pos_inds.tolist() == list(range(10)) and result.neg_inds.tolist() == list(range(10, 40))
    assert result.avg_factor == 10  # positives alone
    assert not result.is_gt.any()


def test_sampling_result():
    assigned, priors, gts = case(positives=3, negatives=3, ignored=1)
    is_gt = torch.tensor([False, True] + [False] * 5)
    result = SamplingResult(torch.tensor([2, 1]), torch.tensor([5]), priors.priors, gts.bboxes, assigned, is_gt)
    assert result.pos_priors[:, 0].tolist() == [2, 1] and result.neg_priors[:, 0].tolist() == [5]
    assert result.sampled_priors[:, 0].tolist() == [2, 1, 5]
    assert result.pos_assigned_gt_inds.tolist() == [0, 1]
    assert result.pos_gt_bboxes[:, 0].tolist() == [1000, 1004]
    assert result.pos_gt_labels.tolist() == [7, 8]
    assert result.pos_is_gt.tolist() == [False, True]
    assert result.avg_factor == 3


@pytest.mark.parametrize('with_neg, expected', [(True, 2), (False, 1)])
def test_avg_factor_is_at_least_one_of_each(with_neg, expected):
    assigned, priors, gts = case()
    none = torch.zeros(0).long()
    result = SamplingResult(none, none, priors.priors, gts.bboxes, assigned, none.bool(), avg_factor_with_neg=with_neg)
    assert result.avg_factor == expected


def test_box_objects_become_tensors():
    assigned, priors, gts = case()
    priors.priors, gts.bboxes = HorizontalBoxes(priors.priors), HorizontalBoxes(gts.bboxes)
    for sampler in (RandomSampler(100, 0.5), PseudoSampler()):
        result = sampler.sample(assigned, priors, gts)
        assert isinstance(result.pos_priors, torch.Tensor) and isinstance(result.pos_gt_bboxes, torch.Tensor)
