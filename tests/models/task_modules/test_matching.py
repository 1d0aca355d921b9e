"""Assigners and costs against their definitions, written out slowly."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment

import mmdetlike.models  # noqa: F401  registers the assigners
from mmdetlike.errors import ConfigError
from mmdetlike.models.task_modules.assigners.matching import cheapest
from mmdetlike.models.utils import best_first, first_of_best, suppress, suppress_boxes
from mmdetlike.registry import TASK_UTILS
from mmdetlike_ops import nms
from tests.models.tiny import candidates as rows
from tests.models.tiny import random_boxes

META = dict(img_shape=(40, 80))


def build(**cfg):
    return TASK_UTILS.build(cfg)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# -- costs -----------------------------------------------------------------------------------------------------------


def two_boxes():
    pred = InstanceData(bboxes=torch.tensor([[0.0, 0, 8, 4], [10, 10, 30, 20]]))
    return pred, InstanceData(bboxes=torch.tensor([[4.0, 0, 12, 4], [10, 10, 30, 20], [40, 20, 80, 40]]))


def test_l1_cost_of_corners_and_of_centres():
    pred, gt = two_boxes()
    corners = build(type='BBoxL1Cost', weight=3.0)(pred, gt, META)
    assert corners[0, 0] == pytest.approx(3 * (4 / 80 + 4 / 80))
    assert corners[1, 1] == 0
    assert corners[1, 2] == pytest.approx(3 * (30 / 80 + 10 / 40 + 50 / 80 + 20 / 40))
    centres = build(type='BBoxL1Cost', box_format='xywh')(pred, gt, META)
    assert centres[0, 0] == pytest.approx(4 / 80)
    assert centres[1, 2] == pytest.approx(40 / 80 + 15 / 40 + 20 / 80 + 10 / 40)
    with pytest.raises(ValueError, match="'xyxy' or 'xywh', got 'cxcywh'"):
        build(type='BBoxL1Cost', box_format='cxcywh')


def test_iou_costs():
    pred, gt = two_boxes()
    iou = build(type='IoUCost', iou_mode='iou', weight=2.0)(pred, gt, META)
    torch.testing.assert_close(iou, torch.tensor([[-2 / 3, 0, 0], [0, -2.0, 0]]))
    giou = build(type='IoUCost')(pred, gt, META)
    # the hull of (0, 0, 8, 4) and (40, 20, 80, 40) has 3200 pixels, they themselves 832
    assert giou[0, 2] == pytest.approx((3200 - 832) / 3200)
    assert giou[1, 1] == -1


def test_class_costs():
    pred, gt = InstanceData(scores=noise(3, 4)), InstanceData(labels=torch.tensor([2, 0]))
    softmax, focal = build(type='ClassificationCost', weight=2.0), build(type='FocalLossCost', alpha=0.3, gamma=1.5)
    for i, j in itertools.product(range(3), range(2)):
        logits, label = pred.scores[i].double(), gt.labels[j]
        assert softmax(pred, gt)[i, j] == pytest.approx(-2 * float(logits.exp()[label] / logits.exp().sum()), abs=1e-6)
        p = 1 / (1 + math.exp(-logits[label]))
        change = -0.3 * (1 - p) ** 1.5 * math.log(p) + 0.7 * p**1.5 * math.log(1 - p)
        assert focal(pred, gt)[i, j] == pytest.approx(change, abs=1e-6)


def mask_pairs():
    pred, gt = noise(3, 2, 4), (noise(2, 2, 4, seed=1) > 0).float()
    for i, j in itertools.product(range(3), range(2)):
        yield i, j, pred[i].double().flatten(), gt[j].double().flatten()


def mask_cost(**cfg):
    return build(**cfg)(InstanceData(masks=noise(3, 2, 4)), InstanceData(masks=(noise(2, 2, 4, seed=1) > 0).float()))


def test_mask_costs():
    focal = mask_cost(type='FocalLossCost', binary_input=True, weight=20.0)
    entropy = mask_cost(type='CrossEntropyLossCost', weight=5.0)
    for i, j, x, y in mask_pairs():
        p = x.sigmoid()
        right = torch.where(y > 0, p, 1 - p)
        alpha = torch.where(y > 0, 0.25, 0.75)
        assert focal[i, j] == pytest.approx(float(-20 * (alpha * (1 - right) ** 2 * right.log()).mean()), rel=1e-5)
        assert entropy[i, j] == pytest.approx(float(-5 * right.log().mean()), rel=1e-5)
    with pytest.raises(ValueError, match='use_sigmoid=True'):
        build(type='CrossEntropyLossCost', use_sigmoid=False)


@pytest.mark.parametrize('naive', [True, False])
@pytest.mark.parametrize('act', [True, False])
def test_dice_cost(naive, act):
    dice = mask_cost(type='DiceCost', pred_act=act, eps=1.0, naive_dice=naive, weight=2.0)
    for i, j, x, y in mask_pairs():
        p = x.sigmoid() if act else x
        size = p.sum() + y.sum() if naive else (p**2).sum() + (y**2).sum()
        assert dice[i, j] == pytest.approx(float(2 - 2 * (2 * (p * y).sum() + 1) / (size + 1)), rel=1e-4)


# -- one-to-one ------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10**6))
def test_cheapest_is_the_best_of_all_permutations(rows, columns, seed):
    cost = noise(rows, columns, seed=seed)
    found_rows, found_columns = cheapest(cost)
    assert len(set(found_rows.tolist())) == len(set(found_columns.tolist())) == min(rows, columns)
    short, long = sorted((rows, columns))
    matrix = (cost if rows <= columns else cost.T).tolist()
    best = min(sum(matrix[i][p[i]] for i in range(short)) for p in itertools.permutations(range(long), short))
    assert float(cost[found_rows, found_columns].sum()) == pytest.approx(best, abs=1e-5)


def test_hungarian_assigner_adds_costs():
    assigner = build(
        type='HungarianAssigner', match_costs=[dict(type='ClassificationCost'), dict(type='BBoxL1Cost', weight=5.0)]
    )
    boxes = torch.tensor([[0.0, 0, 8, 4], [0, 0, 8, 4], [10, 10, 30, 20]])
    logits = torch.tensor([[0.0, 5], [5, 0], [0, 0]])
    gt = InstanceData(bboxes=torch.tensor([[10.0, 10, 30, 20], [0, 0, 8, 4]]), labels=torch.tensor([1, 0]))
    result = assigner.assign(InstanceData(metainfo=META, scores=logits, bboxes=boxes), gt)
    assert result.gt_inds.tolist() == [0, 2, 1]  # both boxes of the first two fit, the class decides
    assert result.labels.tolist() == [-1, 0, 1]
    assert result.num_gts == 2
    with pytest.raises(TypeError):
        assigner.assign(InstanceData(scores=logits, bboxes=boxes), gt, imgmeta=META)


def test_hungarian_assigner_without_objects_and_predictions():
    assigner = build(type='HungarianAssigner', match_costs=dict(type='ClassificationCost'))
    nothing = InstanceData(labels=torch.zeros(0, dtype=torch.long))
    result = assigner.assign(InstanceData(scores=noise(3, 2)), nothing)
    assert result.gt_inds.tolist() == [0, 0, 0] and result.labels.tolist() == [-1, -1, -1]
    result = assigner.assign(InstanceData(scores=noise(0, 2)), InstanceData(labels=torch.tensor([1])))
    assert result.gt_inds.shape == (0,)
    with pytest.raises(ValueError, match='at least one cost'):
        build(type='HungarianAssigner', match_costs=[])


def test_predictions_that_are_not_finite_come_last():
    cost = torch.tensor([[math.nan, math.nan], [1.0, 2.0], [math.inf, -math.inf]])
    rows, columns = cheapest(cost)
    assert list(zip(rows.tolist(), columns.tolist())) == [(1, 0), (2, 1)]
    assert linear_sum_assignment(np.nan_to_num(cost.numpy(), nan=1e5))[0].tolist() == [1, 2]


# -- points and anchors ----------------------------------------------------------------------------------------------


def grid_points(sides=(8, 16), size=64):
    points = []
    for stride in sides:
        at = (torch.arange(size // stride) + 0.5) * stride
        y, x = torch.meshgrid(at, at, indexing='ij')
        points.append(torch.stack([x, y, torch.full_like(x, stride), torch.full_like(x, stride)], -1).reshape(-1, 4))
    return torch.cat(points), [len(level) for level in points]


def slow_point(point, level_range, boxes, radius):
    """The object of a point, counted from 1."""
    x, y, stride = (float(v) for v in point[:3])
    best, best_area = 0, math.inf
    for i, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        sides = x - x1, y - y1, x2 - x, y2 - y
        inside = min(sides) > 0
        if radius is not None:
            near = max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)) < radius * stride
            inside = inside and near
        area = (x2 - x1) * (y2 - y1)
        if inside and level_range[0] <= max(sides) <= level_range[1] and area < best_area:
            best, best_area = i + 1, area
    return best


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10**6), st.sampled_from([None, 0.7, 1.5]))
def test_point_range_assigner_against_a_loop(count, seed, radius):
    points, levels = grid_points()
    boxes = random_boxes(count, seed=seed)
    ranges = [(-1, 20), (20, 1e8)]
    assigner = build(type='PointRangeAssigner', regress_ranges=ranges, center_sample_radius=radius)
    gt = InstanceData(bboxes=boxes, labels=torch.arange(count) + 10)
    result = assigner.assign(rows(points[:, :2], levels, points[:, 2:]), gt)
    of_level = [ranges[0]] * levels[0] + [ranges[1]] * levels[1]
    expected = [slow_point(point, r, boxes, radius) for point, r in zip(points, of_level)]
    assert result.gt_inds.tolist() == expected
    assert result.labels.tolist() == [i + 9 if i else -1 for i in expected]


def test_point_range_assigner_wants_a_range_for_each_level():
    points, levels = grid_points()
    gt = InstanceData(bboxes=random_boxes(1), labels=torch.tensor([0]))
    with pytest.raises(ValueError, match='regress_ranges has 3 entries, got 2 levels'):
        assigner = build(type='PointRangeAssigner', regress_ranges=[(-1, 8), (8, 16), (16, 1e8)])
        assigner.assign(rows(points[:, :2], levels, points[:, 2:]), gt)


def grid_anchors():
    points, levels = grid_points()
    return torch.cat([points[:, :2] - points[:, 2:] * 2, points[:, :2] + points[:, 2:] * 2], 1), levels


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def slow_atss(anchors, levels, boxes, topk):
    anchors, boxes = anchors.double().tolist(), boxes.double().tolist()
    best = [(-math.inf, 0)] * len(anchors)
    for number, box in enumerate(boxes, 1):
        centre, near, start = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), [], 0
        for count in levels:
            places = range(start, start + count)
            far = {i: math.dist(((anchors[i][0] + anchors[i][2]) / 2, (anchors[i][1] + anchors[i][3]) / 2), centre)
                   for i in places}  # fmt: skip
            near += sorted(places, key=far.get)[:topk]
            start += count
        of_near = [overlap(anchors[i], box) for i in near]
        threshold = np.mean(of_near) + np.std(of_near, ddof=1)
        for i, value in zip(near, of_near):
            x, y = (anchors[i][0] + anchors[i][2]) / 2, (anchors[i][1] + anchors[i][3]) / 2
            inside = min(x - box[0], y - box[1], box[2] - x, box[3] - y) > 0.01
            if value >= threshold and inside and value > best[i][0]:
                best[i] = value, number
    return [number for _, number in best]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(0, 10**6), st.integers(2, 9))
def test_atss_assigner_against_a_loop(count, seed, topk):
    anchors, levels = grid_anchors()
    boxes = random_boxes(count, seed=seed)
    gt = InstanceData(bboxes=boxes, labels=torch.arange(count) + 10)
    result = build(type='ATSSAssigner', topk=topk).assign(rows(anchors, levels), gt)
    expected = slow_atss(anchors, levels, boxes, topk)
    assert result.gt_inds.tolist() == expected
    assert result.labels.tolist() == [i + 9 if i else -1 for i in expected]


def test_atss_assigner_with_one_candidate():
    gt = InstanceData(bboxes=torch.tensor([[0.0, 0, 10, 10]]), labels=torch.tensor([2]))
    anchors = torch.tensor([[1.0, 1, 9, 9], [30, 30, 40, 40]])
    result = build(type='ATSSAssigner', topk=1).assign(rows(anchors), gt)
    assert result.gt_inds.tolist() == [1, 0]


def test_atss_assigner_never_takes_ignored_anchors():
    gt = InstanceData(bboxes=torch.tensor([[0.0, 0, 10, 10]]), labels=torch.tensor([2]))
    anchors = torch.tensor([[1.0, 1, 9, 9], [2, 2, 8, 8], [60, 60, 70, 70]])
    assigner = build(type='ATSSAssigner', topk=2, ignore_iof_thr=0.5)
    ignored = InstanceData(bboxes=torch.tensor([[0.0, 0, 20, 20]]))
    result = assigner.assign(rows(anchors), gt, ignored)
    assert result.gt_inds.tolist() == [-1, -1, 0]


def test_atss_assigner_mixes_scores_in():
    gt = InstanceData(bboxes=torch.tensor([[0.0, 0, 10, 10]]), labels=torch.tensor([1]))
    priors = torch.tensor([[0.0, 0, 10, 10]] * 4)
    preds = rows(priors, bboxes=priors, scores=torch.tensor([[0, 0.1], [0, 0.9], [1, 0.1], [1, 0.1]]))
    assigner = build(type='ATSSAssigner', topk=4, alpha=0.5)
    assert assigner.needs_predictions
    result = assigner.assign(preds, gt)
    assert result.gt_inds.tolist() == [0, 1, 0, 0]
    assert result.max_overlaps[1] == pytest.approx(0.9**0.5)


# -- suppression -----------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=30), st.integers(-1, 31))
def test_best_first_is_a_sort(values, limit):
    values = torch.tensor(values, dtype=torch.float32)
    inds = best_first(values, limit)
    count = len(values) if limit < 0 else min(limit, len(values))
    assert values[inds].tolist() == sorted(values.tolist(), reverse=True)[:count]
    assert len(set(inds.tolist())) == count
    assert first_of_best(values, limit).tolist() == values.sort(descending=True, stable=True).indices[:count].tolist()


def test_ties_come_in_the_order_that_is_asked_for():
    # pairs of equal boxes; of so many equal scores torch.sort puts some before earlier ones
    boxes = (torch.arange(300) // 2 * 10)[:, None] + torch.tensor([0.0, 0.0, 5.0, 5.0])
    scores = torch.full((300,), 0.5)
    groups = torch.zeros(300, dtype=torch.long)
    nms_cfg = dict(type='nms', iou_threshold=0.5)
    given, torchvision, as_sorted = (
        suppress_boxes(boxes, scores, groups, nms_cfg, -1, ties)[2].tolist()
        for ties in ('given', 'torchvision', 'sorted')
    )
    # the first one of each pair is left
    assert given == list(range(0, 300, 2))
    assert torchvision == (scores[:150].sort(descending=True).indices * 2).tolist() != given
    order = scores.sort(descending=True).indices.tolist()
    firsts = [min(pair, key=order.index) for pair in zip(range(0, 300, 2), range(1, 300, 2))]
    assert as_sorted == sorted(firsts, key=order.index) != given
    with pytest.raises(ConfigError, match="ties='first' should be one of sorted, given, torchvision"):
        suppress_boxes(boxes, scores, groups, nms_cfg, -1, 'first')


def candidates():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [40, 40, 50, 50]])
    return InstanceData(
        bboxes=boxes, scores=torch.tensor([0.6, 0.9, 0.8, 0.7]), labels=torch.tensor([0, 0, 1, 0]), row=torch.arange(4)
    )


def test_suppress_keeps_the_best_of_each_group():
    nms_cfg = dict(type='nms', iou_threshold=0.5)
    kept = suppress(candidates(), nms_cfg, -1)
    assert kept.row.tolist() == [1, 2, 3] and kept.labels.tolist() == [0, 1, 0]
    torch.testing.assert_close(kept.scores, torch.tensor([0.9, 0.8, 0.7]))
    torch.testing.assert_close(kept.bboxes, candidates().bboxes[kept.row])
    assert suppress(candidates(), nms_cfg, 2).row.tolist() == [1, 2]
    together = suppress(candidates(), nms_cfg, 0, groups=torch.zeros(4, dtype=torch.long))
    assert together.row.tolist() == [1, 3]
    assert nms(candidates().bboxes, candidates().scores, 0.5)[1].tolist() == [1, 3]


def test_suppress_without_settings_ranks():
    assert suppress(candidates(), None, 3).row.tolist() == [1, 2, 3]
    empty = suppress(candidates()[torch.zeros(4, dtype=torch.bool)], dict(type='nms', iou_threshold=0.5), 5)
    assert len(empty) == 0 and empty.bboxes.shape == (0, 4)
