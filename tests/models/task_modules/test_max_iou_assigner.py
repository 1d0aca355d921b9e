"""MaxIoUAssigner against loops over numbers, and BboxOverlaps2D."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData

from mmdetlike.errors import ConfigError
from mmdetlike.models.task_modules import AssignResult, BboxOverlaps2D, MaxIoUAssigner
from mmdetlike.models.task_modules.assigners.max_iou_assigner import move_repeated
from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes


def instances(boxes, labels=None):
    boxes = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    labels = torch.arange(len(boxes)) + 5 if labels is None else torch.tensor(labels)
    return InstanceData(bboxes=boxes, labels=labels)


def assign(priors, gts, ignore=None, **settings):
    assigner = MaxIoUAssigner(**{**dict(pos_iou_thr=0.5, neg_iou_thr=0.4), **settings})
    priors = InstanceData(priors=torch.as_tensor(priors, dtype=torch.float32).reshape(-1, 4))
    return assigner.assign(priors, instances(gts), None if ignore is None else instances(ignore))


def overlap(a, b, mode='iou'):
    """IoU, or the intersection over the area of ``a``, in plain numbers."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(width, 0) * max(height, 0)
    area = lambda x: (x[2] - x[0]) * (x[3] - x[1])  # noqa: E731
    return np.float32(inter) / np.float32(max(area(a) if mode == 'iof' else area(a) + area(b) - inter, 1e-6))


def assign_by_loops(priors, gts, ignore, pos, neg, min_pos, low_quality, assign_all, ignore_thr, wrt_candidates):
    """What the docstring of MaxIoUAssigner says, prior by prior."""
    low, high = neg if isinstance(neg, tuple) else (0, neg)
    table = np.array([[overlap(g, p) for p in priors] for g in gts], np.float32).reshape(len(gts), len(priors))
    skip = [
        ignore_thr > 0
        and any((overlap(p, box, 'iof') if wrt_candidates else overlap(box, p, 'iof')) > ignore_thr for box in ignore)
        for p in priors
    ]
    out = []
    for j in range(len(priors)):
        if skip[j]:
            out.append(-1)
        elif not len(gts):
            out.append(0)
        else:
            best = int(table[:, j].argmax())
            quality = table[best, j]
            out.append(best + 1 if quality >= pos else 0 if low <= quality < high else -1)
    usable = [j for j in range(len(priors)) if not skip[j]]
    for i in range(len(gts)) if low_quality and usable else ():
        top = max(table[i, j] for j in usable)
        if top > 0 and top >= min_pos:
            ties = [j for j in usable if table[i, j] == top]
            for j in ties if assign_all else ties[:1]:
                out[j] = i + 1
    return out


box = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 12), st.integers(1, 12)).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(box, max_size=12),
    st.lists(box, max_size=5),
    st.lists(box, max_size=2),
    st.sampled_from([0.5, 0.7]),
    st.sampled_from([0.3, 0.5, (0.1, 0.5), (0.2, 0.3)]),
    st.sampled_from([0.0, 0.3]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([-1, 0.5]),
    st.booleans(),
)
def test_against_loops(priors, gts, ignore, pos, neg, min_pos, low_quality, assign_all, ignore_thr, wrt_candidates):
    result = assign(
        priors,
        gts,
        ignore,
        pos_iou_thr=pos,
        neg_iou_thr=neg,
        min_pos_iou=min_pos,
        match_low_quality=low_quality,
        gt_max_assign_all=assign_all,
        ignore_iof_thr=ignore_thr,
        ignore_wrt_candidates=wrt_candidates,
    )
    expected = assign_by_loops(
        priors, gts, ignore, pos, neg, min_pos, low_quality, assign_all, ignore_thr, wrt_candidates
    )
    assert result.gt_inds.tolist() == expected
    assert result.labels.tolist() == [4 + i if i > 0 else -1 for i in expected]
    assert (result.num_gts, len(result.gt_inds)) == (len(gts), len(priors))


def test_thresholds_are_inclusive_above():
    gts = [[0, 0, 10, 10]]
    # overlaps 1/2, 2/5, 39/100 and 0: positive, ignored, background, background
    priors = [[0, 0, 10, 5], [0, 0, 10, 4], [0, 0, 10, 3.9], [20, 20, 30, 30]]
    result = assign(priors, gts, match_low_quality=False)
    assert result.gt_inds.tolist() == [1, -1, 0, 0]
    torch.testing.assert_close(result.max_overlaps, torch.tensor([0.5, 0.4, 0.39, 0.0]))


def test_range_of_negatives():
    priors = [[0, 0, 10, 6], [0, 0, 10, 4], [0, 0, 10, 1], [20, 20, 30, 30]]
    for neg in ((0.2, 0.5), [0.2, 0.5]):
        result = assign(priors, [[0, 0, 10, 10]], neg_iou_thr=neg, match_low_quality=False)
        assert result.gt_inds.tolist() == [1, 0, -1, -1]


def test_low_quality_match():
    priors, gts = [[0, 0, 10, 2], [0, 0, 10, 1], [50, 50, 60, 60]], [[0, 0, 10, 10]]
    assert assign(priors, gts).gt_inds.tolist() == [1, 0, 0]
    assert assign(priors, gts, min_pos_iou=0.2).gt_inds.tolist() == [1, 0, 0]
    assert assign(priors, gts, min_pos_iou=0.3).gt_inds.tolist() == [0, 0, 0]


def test_the_later_object_takes_a_contested_prior():
    # the one prior is the best of three objects; the last one that may have it gets it
    gts = [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 12]]
    assert assign([[0, 0, 10, 10]], gts).gt_inds.tolist() == [3]
    assert assign([[0, 0, 10, 10]], gts, match_low_quality=False).gt_inds.tolist() == [1]


def test_ties_for_the_best_overlap():
    priors, gts = [[0, 0, 10, 2], [0, 8, 10, 10], [0, 4, 10, 5]], [[0, 0, 10, 10]]
    assert assign(priors, gts).gt_inds.tolist() == [1, 1, 0]
    assert assign(priors, gts, gt_max_assign_all=False).gt_inds.tolist() == [1, 0, 0]


def test_an_object_that_meets_no_prior_takes_none():
    result = assign([[0, 0, 10, 10], [20, 20, 30, 30]], [[100, 100, 110, 110]], min_pos_iou=0)
    assert result.gt_inds.tolist() == [0, 0]


def test_ignored_regions():
    priors, gts = [[0, 0, 10, 10], [40, 40, 44, 44], [30, 30, 60, 60], [80, 80, 90, 90]], [[0, 0, 10, 10]]
    crowd = [[38, 38, 48, 48]]
    assert assign(priors, gts, crowd, ignore_iof_thr=0.5).gt_inds.tolist() == [1, -1, 0, 0]
    by_region = assign(priors, gts, crowd, ignore_iof_thr=0.5, ignore_wrt_candidates=False)
    assert by_region.gt_inds.tolist() == [1, 0, -1, 0]
    assert assign(priors, gts, crowd).gt_inds.tolist() == [1, 0, 0, 0]
    assert assign(priors, gts, [], ignore_iof_thr=0.5).gt_inds.tolist() == [1, 0, 0, 0]
    assert assign(priors, gts, ignore_iof_thr=0.5).gt_inds.tolist() == [1, 0, 0, 0]


def test_an_ignored_prior_is_no_match():
    result = assign([[0, 0, 10, 10], [0, 0, 10, 3]], [[0, 0, 10, 10]], [[0, 0, 10, 10]], ignore_iof_thr=0.5)
    assert result.gt_inds.tolist() == [-1, -1]
    assert result.labels.tolist() == [-1, -1]


def test_ignored_regions_count_in_an_image_without_objects():
    result = assign([[0, 0, 10, 10], [80, 80, 90, 90]], [], [[0, 0, 12, 12]], ignore_iof_thr=0.5)
    assert result.gt_inds.tolist() == [-1, 0]


def test_nothing_to_assign():
    result = assign([[0, 0, 10, 10]], [])
    assert (result.gt_inds.tolist(), result.labels.tolist(), result.max_overlaps.tolist()) == ([0], [-1], [0.0])
    for gts in ([], [[0, 0, 10, 10]]):
        result = assign([], gts, [[0, 0, 5, 5]], ignore_iof_thr=0.5)
        assert (len(result.gt_inds), len(result.labels), result.num_gts) == (0, 0, len(gts))
        assert result.gt_inds.dtype == result.labels.dtype == torch.long


def test_assigning_on_the_cpu_gives_the_same():
    torch.manual_seed(0)
    gts = torch.rand(6, 4) * 50
    gts[:, 2:] += gts[:, :2]
    priors = torch.rand(40, 4) * 50
    priors[:, 2:] += priors[:, :2]
    plain = assign(priors, gts, gts[:1], ignore_iof_thr=0.5)
    moved = assign(priors, gts, gts[:1], ignore_iof_thr=0.5, gpu_assign_thr=5)
    for name in ('gt_inds', 'max_overlaps', 'labels'):
        assert torch.equal(getattr(plain, name), getattr(moved, name))


def test_box_objects_are_accepted():
    assigner = TASK_UTILS.build(dict(type='mmdet.MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5))
    boxes = HorizontalBoxes(torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]]))
    result = assigner.assign(InstanceData(priors=boxes), InstanceData(bboxes=boxes[:1], labels=torch.tensor([3])))
    assert result.gt_inds.tolist() == [1, 0] and result.labels.tolist() == [3, -1]


def test_objects_with_the_box_of_another_are_moved_a_little():
    torch.manual_seed(0)
    boxes = torch.tensor([[0.0, 0, 100, 50], [7, 7, 9, 9], [0, 0, 100, 50], [0, 0, 100, 50]])
    moved = move_repeated(boxes, iou_thr=0.7, perm_range=0.01)
    assert torch.equal(moved[:2], boxes[:2])
    steps = (moved - boxes)[2:]
    assert (steps != 0).all() and (steps.abs() <= torch.tensor([1.0, 0.5, 1, 0.5])).all()
    assert not torch.equal(moved[2], moved[3])


def test_boxes_that_would_move_too_far_stay():
    boxes = torch.tensor([[0.0, 0, 100, 50]] * 3)
    assert torch.equal(move_repeated(boxes, iou_thr=1.0, perm_range=0.5), boxes)
    assert move_repeated(boxes[:0], iou_thr=0.7, perm_range=0.01).shape == (0, 4)


def test_each_of_two_equal_objects_takes_priors():
    torch.manual_seed(0)
    box = torch.tensor([10.0, 10, 60, 60])
    priors = box + torch.randn(200, 4)
    gts = box.expand(2, 4)
    assert set(assign(priors, gts, match_low_quality=False).gt_inds.tolist()) == {1}
    settings = dict(match_low_quality=False, perm_repeat_gt_cfg=dict(iou_thr=0.7, perm_range=0.02))
    assert set(assign(priors, gts, **settings).gt_inds.tolist()) == {1, 2}


def test_objects_as_priors():
    result = AssignResult(2, torch.tensor([0, 2]), torch.tensor([0.1, 0.9]), torch.tensor([-1, 7]))
    result.add_gt_(torch.tensor([4, 7]))
    assert result.gt_inds.tolist() == [1, 2, 0, 2]
    assert result.labels.tolist() == [4, 7, -1, 7]
    torch.testing.assert_close(result.max_overlaps, torch.tensor([1, 1, 0.1, 0.9]))
    assert (result.num_gts, len(result.gt_inds)) == (2, 4)


def test_overlaps_as_a_part_of_assigners():
    a, b = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 5], [5, 5, 15, 15]])
    for scale in (1.0, 4.0):
        torch.testing.assert_close(BboxOverlaps2D(scale)(a, b), torch.tensor([[0.5, 25 / 175]]))
    torch.testing.assert_close(BboxOverlaps2D()(b, a, mode='iof'), torch.tensor([[1.0], [0.25]]))
    torch.testing.assert_close(BboxOverlaps2D()(a.expand(2, 4), b, is_aligned=True), torch.tensor([0.5, 25 / 175]))
    # hull 15 x 15: giou = 25 / 175 - (225 - 175) / 225
    torch.testing.assert_close(BboxOverlaps2D()(a, b[1:], mode='giou'), torch.tensor([[25 / 175 - 50 / 225]]))
    assert BboxOverlaps2D()(torch.zeros(0, 4), b).shape == (0, 2)


def test_overlaps_of_wrong_shapes():
    with pytest.raises(ValueError, match='BboxOverlaps2D takes axis-aligned boxes, 4 numbers each, but got 3 numbers'):
        BboxOverlaps2D()(torch.zeros(2, 3), torch.zeros(1, 4))
    # not cut to four: a fifth number is the angle of a rotated box
    with pytest.raises(ConfigError, match=r'BboxOverlaps2D takes .* but got 5 numbers \(rotated boxes\)'):
        BboxOverlaps2D()(torch.zeros(2, 4), torch.zeros(1, 5))


def test_overlaps_of_rotated_boxes():
    rotated = torch.tensor([[10.0, 10, 20, 4, torch.pi / 2], [40, 10, 20, 4, 0]])
    upright = torch.tensor([[8.0, 0, 12, 20]])
    overlaps = TASK_UTILS.build(dict(type='RBboxOverlaps2D'))
    torch.testing.assert_close(overlaps(rotated, rotated), torch.eye(2))
    torch.testing.assert_close(overlaps(rotated, upright), torch.tensor([[1.0], [0.0]]))
    enclosing = TASK_UTILS.build(dict(type='RBbox2HBboxOverlaps2D'))
    diagonal = torch.tensor([[10.0, 10, 10, 10, torch.pi / 4]])
    reach = 50**0.5
    around = torch.tensor([[10 - reach, 10 - reach, 10 + reach, 10 + reach]])
    torch.testing.assert_close(enclosing(diagonal, around), torch.ones(1, 1))
    torch.testing.assert_close(enclosing(diagonal, diagonal, is_aligned=True), torch.ones(1))


def test_repr_of_overlaps():
    assert repr(BboxOverlaps2D(2.0)) == 'BboxOverlaps2D(scale=2.0, dtype=None)'
