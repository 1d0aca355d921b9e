"""TaskAlignedAssigner on paper and against a loop."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData

from mmdetlike.models.task_modules.assigners import TaskAlignedAssigner
from mmdetlike.structures.bbox import bbox_overlaps
from tests.models.tiny import candidates, random_boxes


def assign(priors, bboxes, scores, gt_bboxes, gt_labels, topk=2, **exponents):
    pred = candidates(priors, bboxes=bboxes, scores=scores)
    gts = InstanceData(bboxes=torch.tensor(gt_bboxes).reshape(-1, 4), labels=torch.tensor(gt_labels).long())
    return TaskAlignedAssigner(topk, **exponents).assign(pred, gts)


def test_on_paper():
    inside, outside = [4.0, 4.0, 6.0, 6.0], [14.0, 4.0, 16.0, 6.0]
    half, whole = [0.0, 0.0, 10.0, 5.0], [0.0, 0.0, 10.0, 10.0]
    result = assign(
        [inside, inside, inside, outside],
        [half, whole, whole, whole],
        [[0.1, 0.8], [0.9, 0.2], [0.9, 0.1], [0.9, 0.9]],
        [whole],
        [1],
        alpha=1,
        beta=2,
    )
    # score * IoU^2: 0.8 / 4, 0.2, 0.1 and, the best but outside, 0.9
    assert result.gt_inds.tolist() in ([1, 0, 0, 0], [0, 1, 0, 0])
    result = assign(
        [inside, inside, inside, outside],
        [half, whole, whole, whole],
        [[0.1, 0.8], [0.9, 0.3], [0.9, 0.1], [0.9, 0.9]],
        [whole],
        [1],
        topk=3,
        alpha=1,
        beta=2,
    )
    assert result.gt_inds.tolist() == [1, 1, 0, 0] and result.labels.tolist() == [1, 1, -1, -1]
    torch.testing.assert_close(result.assign_metrics, torch.tensor([0.2, 0.3, 0.0, 0.0]))
    torch.testing.assert_close(result.max_overlaps[:2], torch.tensor([0.5, 1.0]))


@pytest.mark.parametrize('objects, priors', [(0, 3), (2, 0), (0, 0)])
def test_nothing_to_assign(objects, priors):
    pred = candidates(torch.zeros(priors, 4), bboxes=torch.zeros(priors, 4), scores=torch.zeros(priors, 2))
    gts = InstanceData(bboxes=torch.zeros(objects, 4), labels=torch.zeros(objects).long())
    result = TaskAlignedAssigner(13).assign(pred, gts)
    assert result.num_gts == objects
    for values in (result.gt_inds, result.max_overlaps, result.assign_metrics):
        assert values.tolist() == [0] * priors


def test_no_candidates_is_refused():
    with pytest.raises(ValueError, match='topk must be at least 1, got 0'):
        TaskAlignedAssigner(0)


def by_loops(pred, gts, topk, alpha, beta):
    """What the paper says, object by object."""
    overlaps = bbox_overlaps(pred.bboxes, gts.bboxes)
    best = [(-1.0, 0, 0.0)] * len(pred)
    for j, (box, label) in enumerate(zip(gts.bboxes.tolist(), gts.labels.tolist())):
        metric = pred.scores[:, label] ** alpha * overlaps[:, j] ** beta
        for i in metric.sort(descending=True).indices[:topk].tolist():
            x, y = ((pred.priors[i, :2] + pred.priors[i, 2:]) / 2).tolist()
            inside = min(x - box[0], y - box[1], box[2] - x, box[3] - y) > 0.01
            if inside and metric[i] > 0 and overlaps[i, j] > best[i][0]:
                best[i] = (float(overlaps[i, j]), j + 1, float(metric[i]))
    return [b[1] for b in best], [b[2] for b in best]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 40), st.integers(1, 9), st.sampled_from([1, 2, 6]))
def test_against_a_loop(seed, objects, priors, topk, beta):
    generator = torch.Generator().manual_seed(seed)
    pred = candidates(
        random_boxes(priors, seed=seed),
        bboxes=random_boxes(priors, seed=seed + 1),
        scores=torch.rand(priors, 3, generator=generator),
    )
    gts = InstanceData(bboxes=random_boxes(objects, seed=seed + 2), labels=torch.arange(objects) % 3)
    result = TaskAlignedAssigner(topk, alpha=1, beta=beta).assign(pred, gts)
    gt_inds, metrics = by_loops(pred, gts, topk, 1, beta)
    assert result.gt_inds.tolist() == gt_inds
    torch.testing.assert_close(result.assign_metrics, torch.tensor(metrics))
    positive = result.gt_inds > 0
    assert torch.equal(result.labels[positive], gts.labels[result.gt_inds[positive] - 1])
    assert bool((result.labels[~positive] == -1).all())
