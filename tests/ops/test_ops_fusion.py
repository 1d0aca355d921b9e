import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike_ops import batched_nms, bbox_overlaps, weighted_boxes_fusion

CONF_TYPES = ('avg', 'max', 'box_and_model_avg', 'absent_model_aware_avg')


def fused_score(cluster, weights, conf_type, allows_overflow):
    """Of boxes (weighted score, model); as the paper and its authors define it."""
    scores, models = [score for score, _ in cluster], [model for _, model in cluster]
    mean, found = sum(scores) / len(scores), set(models)
    weight_of_boxes = sum(weights[model] for model in models)
    if conf_type == 'avg':
        votes = len(cluster) if allows_overflow else min(len(cluster), len(weights))
        return mean * votes / sum(weights)
    if conf_type == 'max':
        return max(scores) / max(weights)
    if conf_type == 'box_and_model_avg':
        return mean * len(cluster) / weight_of_boxes * sum(weights[model] for model in found) / sum(weights)
    absent = sum(weight for model, weight in enumerate(weights) if model not in found)
    return mean * len(cluster) / (weight_of_boxes + absent)


def fuse_by_definition(bboxes_list, scores_list, labels_list, weights, iou_thr, conf_type, allows_overflow):
    entries = [
        (scores[i].item() * weights[model], model, boxes[i].double(), labels[i].item())
        for model, (boxes, scores, labels) in enumerate(zip(bboxes_list, scores_list, labels_list))
        for i in range(len(boxes))
    ]
    clusters = []
    for entry in sorted(entries, key=lambda entry: -entry[0]):
        best, best_overlap = None, iou_thr
        for cluster in clusters:
            overlap = bbox_overlaps(mean_box(cluster)[None], entry[2][None]).item()
            if cluster[0][3] == entry[3] and overlap > best_overlap:
                best, best_overlap = cluster, overlap
        clusters.append([entry]) if best is None else best.append(entry)
    results = [
        (fused_score([entry[:2] for entry in cluster], weights, conf_type, allows_overflow), mean_box(cluster), cluster)
        for cluster in clusters
    ]
    results.sort(key=lambda result: -result[0])
    scores = torch.tensor([score for score, _, _ in results])
    labels = torch.tensor([cluster[0][3] for _, _, cluster in results])
    return torch.stack([box for _, box, _ in results]).float(), scores, labels


def mean_box(cluster):
    return sum(entry[0] * entry[2] for entry in cluster) / sum(entry[0] for entry in cluster)


def random_detections(seed, models=3, most=8):
    generator = torch.Generator().manual_seed(seed)
    counts = [1, *torch.randint(0, most, (models - 1,), generator=generator).tolist()]
    boxes = [torch.rand(n, 2, generator=generator) * 20 for n in counts]
    boxes = [torch.cat([low, low + 5 + 25 * torch.rand(len(low), 2, generator=generator)], dim=1) for low in boxes]
    scores = [0.01 + torch.rand(n, generator=generator) for n in counts]
    labels = [torch.randint(0, 2, (n,), generator=generator) for n in counts]
    return boxes, scores, labels


@given(st.sampled_from(CONF_TYPES), st.booleans(), st.floats(0.1, 0.8), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_fusion_by_definition(conf_type, allows_overflow, iou_thr, seed):
    detections, weights = random_detections(seed), [1.0, 2.5, 0.5]
    fused = weighted_boxes_fusion(
        *detections, weights=weights, iou_thr=iou_thr, conf_type=conf_type, allows_overflow=allows_overflow
    )
    expected = fuse_by_definition(*detections, weights, iou_thr, conf_type, allows_overflow)
    for actual, wanted in zip(fused, expected):
        torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-5)


def test_two_models_agree_on_one_object():
    boxes = [torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 12], [50, 50, 60, 60]])]
    scores, labels = [torch.tensor([0.9]), torch.tensor([0.6, 0.8])], [torch.tensor([3]), torch.tensor([3, 3])]
    fused, confidence, kinds = weighted_boxes_fusion(boxes, scores, labels)
    torch.testing.assert_close(fused, torch.tensor([[0, 0, 10, (9 + 7.2) / 1.5], [50, 50, 60, 60]]))
    torch.testing.assert_close(confidence, torch.tensor([0.75, 0.4]))
    assert kinds.tolist() == [3, 3]
    assert kinds.dtype == torch.int64


def test_classes_do_not_meet_and_low_scores_are_left_out():
    boxes = [torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])]
    scores, labels = [torch.tensor([0.9, 0.8, 0.05])], [torch.tensor([0, 1, 2])]
    _, confidence, kinds = weighted_boxes_fusion(boxes, scores, labels, skip_box_thr=0.1)
    assert kinds.tolist() == [0, 1]
    torch.testing.assert_close(confidence, torch.tensor([0.9, 0.8]))


def test_one_model_that_finds_an_object_twice():
    boxes, labels = [torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])], [torch.zeros(2).long()]
    scores = [torch.tensor([0.9, 0.7])]
    assert weighted_boxes_fusion(boxes, scores, labels)[1].tolist() == pytest.approx([0.8])
    assert weighted_boxes_fusion(boxes, scores, labels, allows_overflow=True)[1].tolist() == pytest.approx([1.6])


def test_boxes_of_score_0():
    boxes, labels = [torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9]])], [torch.zeros(2).long()]
    fused, scores, _ = weighted_boxes_fusion(boxes, [torch.zeros(2)], labels)
    assert scores.tolist() == [0]
    assert fused.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16])
def test_empty_and_dtypes(dtype):
    empty = [torch.zeros(0, 4, dtype=dtype)] * 2, [torch.zeros(0, dtype=dtype)] * 2, [torch.zeros(0).int()] * 2
    fused, scores, labels = weighted_boxes_fusion(*empty)
    assert fused.shape == (0, 4) and scores.shape == (0,) and labels.shape == (0,)
    assert fused.dtype == dtype and scores.dtype == dtype and labels.dtype == torch.int32
    one = [torch.tensor([[0, 1, 2, 3]], dtype=dtype)], [torch.ones(1, dtype=dtype)], [torch.ones(1).int()]
    fused = weighted_boxes_fusion(*(a + b[:1] for a, b in zip(one, empty)))
    assert fused[0].tolist() == [[0, 1, 2, 3]] and fused[0].dtype == dtype


@pytest.mark.parametrize('change, words', [
    ({'weights': [1.0]}, r'weights is \[1.0\], 2 positive numbers are expected'),
    ({'weights': [1.0, 0.0]}, r'weights is \[1.0, 0.0\], 2 positive numbers are expected'),
    ({'conf_type': 'mean'}, "conf_type is 'mean', one of"),
    ({'iou_thr': 2}, 'iou_thr is 2, a number from 0 to 1 is expected'),
    ({'scores_list': [torch.ones(1)]}, r'are of \(2, 1, 2\) models, one number above 0 is expected'),
    ({'labels_list': [torch.ones(1), torch.ones(2)]}, r'labels_list\[1\] has shape \(2,\), \(1,\) is expected'),
    ({'bboxes_list': [torch.ones(1, 4), torch.ones(1, 5)]}, r'bboxes_list\[1\] has shape \(1, 5\), \(n, 4\)'),
])  # fmt: skip
def test_bad_fusion(change, words):
    good = {'bboxes_list': [torch.ones(1, 4)] * 2, 'scores_list': [torch.ones(1)] * 2}
    good['labels_list'] = [torch.ones(1)] * 2
    with pytest.raises(ValueError, match=words):
        weighted_boxes_fusion(**{**good, **change})


# Suppression in classes and across them, whatever the number of boxes


@pytest.mark.parametrize('kind', ['nms', 'soft_nms'])
@pytest.mark.parametrize('class_agnostic', [False, True])
def test_split_thr(random_boxes, rng, kind, class_agnostic):
    boxes, scores = random_boxes(60), torch.rand(60, generator=rng)
    classes = torch.randint(0, 3, (60,), generator=rng)
    config = {'type': kind, 'iou_threshold': 0.3, 'class_agnostic': class_agnostic}
    within = [batched_nms(boxes[classes == c], scores[classes == c], classes[classes == c], config) for c in range(3)]
    by_class = torch.cat([dets for dets, _ in within])
    by_class = by_class[by_class[:, 4].argsort(descending=True)]
    torch.testing.assert_close(batched_nms(boxes, scores, classes, {**config, 'split_thr': 60})[0], by_class)
    few = batched_nms(boxes, scores, classes, {**config, 'split_thr': 60, 'max_num': 7})
    torch.testing.assert_close(few[0], by_class[:7])
    whole = batched_nms(boxes, scores, classes, {**config, 'split_thr': 61})[0]
    assert torch.equal(whole, by_class) == (not class_agnostic)


@pytest.mark.parametrize('count', [9999, 10000, 20000])
def test_many_boxes_stay_class_agnostic(rng, count):
    boxes = torch.tensor([[0.0, 0, 10, 10]]).expand(count, 4)
    scores, classes = torch.rand(count, generator=rng), torch.arange(count) % 4
    config = {'type': 'nms', 'iou_threshold': 0.5}
    assert len(batched_nms(boxes, scores, classes, config, class_agnostic=True)[0]) == 1
    assert len(batched_nms(boxes, scores, classes, {**config, 'class_agnostic': True})[0]) == 1
    assert len(batched_nms(boxes, scores, classes, config)[0]) == 4
