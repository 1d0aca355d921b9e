"""Samplers and what a SamplingResult tells."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.roi.bbox_heads import BBoxHead
from mmdetlike.models.heads.roi.stage import Stage
from mmdetlike.models.task_modules import (
    AssignResult,
    CombinedSampler,
    InstanceBalancedPosSampler,
    IoUBalancedNegSampler,
    MaxIoUAssigner,
    OHEMSampler,
    PseudoSampler,
    RandomSampler,
    SamplingResult,
)
from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures import DetDataSample
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
    assert result.pos_priors[:, 0].tolist() == [2, 1] and result.priors[result.neg_inds, 0].tolist() == [5]
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


# -- balanced samplers -----------------------------------------------------------------------------------------------


def assigned(gt_inds, overlaps=None, num_gts=4):
    """What an assigner said, with priors and objects to go with it."""
    gt_inds = torch.tensor(gt_inds)
    overlaps = torch.zeros(len(gt_inds)) if overlaps is None else torch.tensor(overlaps)
    result = AssignResult(num_gts, gt_inds, overlaps, torch.where(gt_inds > 0, gt_inds - 1, -1))
    gts = InstanceData(bboxes=torch.rand(num_gts, 4), labels=torch.arange(num_gts))
    return result, InstanceData(priors=torch.rand(len(gt_inds), 4)), gts


@pytest.mark.parametrize('num, expected', [(4, [1, 1, 1, 1]), (12, [5, 4, 2, 1]), (100, [20, 4, 2, 1])])
def test_instances_get_equal_shares(num, expected):
    gt_inds = [1] * 20 + [2] * 4 + [3] * 2 + [4] + [0] * 5
    sampler = InstanceBalancedPosSampler(2 * num, 0.5, add_gt_as_proposals=False)
    for seed in range(5):
        torch.manual_seed(seed)
        result = sampler.sample(*assigned(gt_inds))
        counts = result.pos_assigned_gt_inds.bincount(minlength=4).tolist()
        assert counts == expected and len(set(result.pos_inds.tolist())) == sum(expected)


def test_instance_balance_with_a_remainder():
    sampler, seen = InstanceBalancedPosSampler(10, 0.5, add_gt_as_proposals=False), set()
    for seed in range(20):
        torch.manual_seed(seed)
        counts = sampler.sample(*assigned([1] * 9 + [2] * 9 + [3] * 9)).pos_assigned_gt_inds.bincount().tolist()
        assert sorted(counts) == [1, 2, 2]
        seen.add(tuple(counts))
    assert len(seen) == 3  # who goes short is drawn


def negatives(counts, **settings):
    """Numbers of sampled negatives of each overlap, from ``counts`` of them, with a positive of overlap 0.9."""
    overlaps = [0.9] + [overlap for overlap, count in counts.items() for _ in range(count)]
    sampler = IoUBalancedNegSampler(pos_fraction=0.5, add_gt_as_proposals=False, **settings)
    result = sampler.sample(*assigned([1] + [0] * (len(overlaps) - 1), overlaps))
    assert result.pos_inds.tolist() == [0] and len(set(result.neg_inds.tolist())) == len(result.neg_inds)
    chosen = torch.tensor(overlaps)[result.neg_inds]
    return [int((chosen == torch.tensor(overlap)).sum()) for overlap in counts]


@pytest.mark.parametrize(
    'counts, settings, expected',
    [
        # three ranges up to 0.9: [0, 0.3), [0.3, 0.6), [0.6, 0.9]
        ({0.1: 100, 0.4: 100, 0.7: 100}, dict(num=31), [10, 10, 10]),
        # what a range lacks, others fill up
        ({0.1: 100, 0.4: 5}, dict(num=31), [25, 5]),
        # one range: at random
        ({0.1: 20, 0.4: 5}, dict(num=26, num_bins=1), [20, 5]),
        # a floor below 0.05 with a quarter of the sample
        ({0.0: 100, 0.1: 100, 0.8: 100}, dict(num=41, floor_thr=0.05, floor_fraction=0.25, num_bins=2), [10, 15, 15]),
        # a floor of no overlap at all
        ({0.0: 100, 0.1: 100, 0.8: 100}, dict(num=41, floor_thr=0, floor_fraction=0.5, num_bins=2), [20, 10, 10]),
        # a floor that is too small
        ({0.0: 5, 0.1: 100, 0.8: 2}, dict(num=41, floor_thr=0, floor_fraction=0.5, num_bins=2), [5, 33, 2]),
        # fewer than wanted: all
        ({0.0: 3, 0.4: 4}, dict(num=41, floor_thr=0.1, floor_fraction=0.5), [3, 4]),
    ],
)
def test_negatives_are_spread_over_overlaps(counts, settings, expected):
    for seed in range(3):
        torch.manual_seed(seed)
        assert negatives(counts, **settings) == expected


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(floor_thr=-0.5), 'floor_thr must be -1 or in'),
        (dict(floor_fraction=2), r'floor_fraction must be in \[0, 1\], got 2'),
        (dict(num_bins=0), 'num_bins must be at least 1, got 0'),
    ],
)
def test_wrong_floor(settings, message):
    with pytest.raises(ValueError, match=message):
        IoUBalancedNegSampler(8, 0.5, **settings)


def test_combined_sampler():
    cfg = dict(
        type='CombinedSampler',
        num=40,
        pos_fraction=0.25,
        add_gt_as_proposals=False,
        pos_sampler=dict(type='InstanceBalancedPosSampler'),
        neg_sampler=dict(type='IoUBalancedNegSampler', floor_thr=-1, floor_fraction=0, num_bins=3),
    )
    sampler = TASK_UTILS.build(cfg)
    assert isinstance(sampler, CombinedSampler) and sampler.neg_sampler.num == 40
    overlaps = [0.9] * 40 + [0.1] * 200 + [0.4] * 20
    result = sampler.sample(*assigned([1] * 35 + [2] * 5 + [0] * 220, overlaps))
    assert result.pos_assigned_gt_inds.bincount().tolist() == [5, 5]
    chosen = torch.tensor(overlaps)[result.neg_inds]
    assert (len(chosen), int((chosen > 0.3).sum()) >= 10) == (30, True)


def test_combined_sampler_adds_objects_once():
    cfg = dict(pos_sampler=dict(type='RandomSampler'), neg_sampler=dict(type='RandomSampler'))
    result = CombinedSampler(num=10, pos_fraction=0.5, **cfg).sample(*assigned([0, 0, 1]))
    assert len(result.priors) == 7 and result.is_gt.sum() == 4


def test_misspelled_part_of_a_combined_sampler():
    with pytest.raises(ConfigError, match='IoUBalancedNegSampler'):
        CombinedSampler(dict(type='RandomSampler'), dict(type='IoUBalancedSampler'), num=8, pos_fraction=0.5)


# -- OHEM ------------------------------------------------------------------------------------------------------------


def test_ohem_takes_the_largest_losses():
    result, priors, gts = assigned([1, 0, 2, 0, -1, 0, 3, 0], num_gts=3)
    losses = torch.tensor([0.1, 0.9, 0.8, 0.2, 9.0, 0.7, 0.5, 0.3])
    asked = []

    def loss_of(boxes, labels):
        asked.append((boxes, labels))
        return losses

    sampled = OHEMSampler(5, 0.4, add_gt_as_proposals=False).sample(result, priors, gts, loss_of)
    assert sampled.pos_inds.tolist() == [2, 6] and sampled.neg_inds.tolist() == [1, 5, 7]
    ((boxes, labels),) = asked
    assert torch.equal(boxes, priors.priors) and labels.tolist() == [0, -1, 1, -1, -1, -1, 2, -1]


def test_ohem_ranks_added_objects_too():
    sampled = OHEMSampler(4, 0.5).sample(
        *assigned([0, 0, 0], num_gts=2), lambda boxes, _: torch.arange(len(boxes)) * 1.0
    )
    assert sampled.pos_inds.tolist() == [0, 1] and sampled.neg_inds.tolist() == [4, 3]


def test_ohem_wrong_use():
    with pytest.raises(ValueError, match="loss_key must be 'loss_cls', got 'loss_bbox'"):
        OHEMSampler(8, 0.5, loss_key='loss_bbox')
    with pytest.raises(ValueError, match='a dense head has no such loss'):
        OHEMSampler(8, 0.5).sample(*assigned([0, 1]))


def test_ohem_in_a_stage_of_a_region_head():
    torch.manual_seed(0)
    head = BBoxHead(roi_feat_size=1, in_channels=3, num_classes=4)
    maps = [torch.rand(2, 3, 8, 8)]

    def extract(x, rois):
        cells = [x[0][int(i), :, int(y), int(x1)] for i, x1, y, *_ in rois.tolist()]
        return (torch.stack(cells)[..., None, None],)

    assigner = MaxIoUAssigner(0.5, 0.5, match_low_quality=False)
    stage = Stage(extract, head, ConfigDict(), assigner, OHEMSampler(6, 0.5, add_gt_as_proposals=False))
    start = torch.randint(0, 4, (20, 2)).float()
    boxes = torch.cat([start, start + 4], 1)
    gts = InstanceData(bboxes=boxes[:1].clone(), labels=torch.tensor([2]))
    samples = [DetDataSample(gt_instances=gts) for _ in range(2)]
    sampled = stage.sample(maps, [InstanceData(bboxes=boxes)] * 2, samples)
    for i, result in enumerate(sampled):
        scores = head(*extract(maps, torch.cat([torch.full((20, 1), float(i)), boxes], 1)))[0]
        losses = -scores.log_softmax(1)
        hardest = losses[:, 4][result.assign_result.gt_inds == 0].topk(len(result.neg_inds)).values
        torch.testing.assert_close(losses[result.neg_inds, 4], hardest)
        assert len(result.neg_inds) == 6 - len(result.pos_inds) and len(result.pos_inds) >= 1
