"""OpenImagesMetric: scores by hand, after the rules of the challenge."""

import numpy as np
import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.evaluation import OpenImagesMetric
from mmdetlike.evaluation.functional.openimages import eval_openimages, with_ancestors

A, B, C = [0, 0, 10, 10], [20, 20, 40, 40], [50, 50, 90, 90]
ANIMAL, CAT, CAR = range(3)
CLASSES = ('animal', 'cat', 'car')
# a cat is an animal; classes may or may not include themselves
INCLUDES = np.array([[0, 0, 0], [1, 1, 0], [0, 0, 1]], np.uint8)


def instance(box, label, group=False):
    return {'bbox': box, 'bbox_label': label, 'ignore_flag': 0, 'is_group_of': group}


def sample(found, instances, **extra):
    boxes, scores, labels = zip(*found) if found else ((), (), ())
    predicted = {
        'bboxes': torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        'scores': torch.tensor(scores),
        'labels': torch.tensor(labels, dtype=torch.long),
    }
    return {'img_id': 'a', 'ori_shape': (100, 100), 'pred_instances': predicted, 'instances': instances, **extra}


def evaluate(*samples, **kwargs):
    metric = OpenImagesMetric(**kwargs)
    metric.dataset_meta = {'classes': CLASSES, 'RELATION_MATRIX': INCLUDES}
    metric.process(None, list(samples))
    return metric.evaluate(len(samples))


def test_objects_are_ones_of_every_class_that_includes_them():
    indices, labels = with_ancestors(np.array([CAT, CAR]), INCLUDES)
    assert list(zip(indices.tolist(), labels.tolist())) == [(0, CAT), (1, CAR), (0, ANIMAL)]
    one = sample([(A, 0.9, CAT)], [instance(A, CAT), instance(B, ANIMAL)])
    # cat 1; animal: one of two
    assert evaluate(one) == {'openimages/mAP': pytest.approx(0.75), 'openimages/AP50': pytest.approx(0.75)}
    assert evaluate(one, get_supercategory=False)['openimages/AP50'] == pytest.approx(0.5)  # cat 1, animal 0


def test_classes_that_an_image_was_not_looked_through_for_do_not_count():
    first = sample([(B, 0.9, CAR), (A, 0.8, CAT)], [instance(A, CAT)])
    second = sample([], [instance(C, CAR)])
    # the car of the first image is nowhere in its annotation: cat 1, animal 1, car 0 of 1
    assert evaluate(first, second)['openimages/AP50'] == pytest.approx(2 / 3)
    third = sample([(C, 0.5, CAR)], [instance(C, CAR)])
    assert evaluate(first, third)['openimages/AP50'] == 1
    searched = sample([(B, 0.9, CAR), (A, 0.8, CAT)], [instance(A, CAT)], image_level_labels=np.array([CAR]))
    assert evaluate(searched, third)['openimages/AP50'] == pytest.approx((1 + 1 + 0.5) / 3)
    assert evaluate(first, third, filter_labels=False)['openimages/AP50'] == pytest.approx((1 + 1 + 0.5) / 3)


def arrays(boxes, labels=None, **more):
    boxes = np.array(boxes, dtype=float).reshape(-1, 4)
    labels = np.zeros(len(boxes), int) if labels is None else np.array(labels)
    return {'bboxes': boxes, 'labels': labels, **{key: np.array(value) for key, value in more.items()}}


def test_the_best_detection_in_a_group_is_right_and_the_others_do_not_count():
    inside = [[52, 52, 60, 60], [70, 70, 80, 80], [55, 60, 70, 80]]
    found = arrays([*inside, A, B], scores=[0.5, 0.9, 0.4, 0.7, 0.6])
    truth = arrays([C, A], group_of=[True, False])
    mean, (one,) = eval_openimages([found], [truth], 1)
    # 0.9 right (group), 0.7 right, 0.6 wrong
    assert one == {'num_gts': 2, 'num_dets': 3, 'recall': 1, 'ap': 1}
    assert mean == 1
    _, (one,) = eval_openimages([found], [truth], 1, ioa_thr=None)
    assert one['num_dets'] == 5
    # right at the second place of five, one of two objects
    assert one['ap'] == pytest.approx(0.5 * 0.5)


def test_a_group_without_detections_is_missed_and_a_second_box_on_an_object_may_lie_in_it():
    truth = arrays([C, A], group_of=[True, False])
    _, (one,) = eval_openimages([arrays([A], scores=[0.9])], [truth], 1)
    assert one['recall'] == 0.5
    around = [0, 0, 30, 30]
    twice = arrays([A, A], scores=[0.9, 0.8])
    _, (one,) = eval_openimages([twice], [arrays([around, A], group_of=[True, False])], 1)
    assert one == {'num_gts': 2, 'num_dets': 2, 'recall': 1, 'ap': 1}


def test_sizes_and_several_thresholds():
    one = sample([(A, 0.9, CAR), ([20, 20, 40, 33], 0.8, CAR)], [instance(A, CAR), instance(B, CAR)])
    scores = evaluate(one, iou_thrs=[0.5, 0.7], ioa_thrs=[0.5, 0.7], scale_ranges=[(0, 15)])
    assert scores == {
        'openimages/mAP': pytest.approx(0.75),
        'openimages/AP50': 1,
        'openimages/AP50_0-15': 1,
        'openimages/AP70': pytest.approx(0.5),
        'openimages/AP70_0-15': 1,
    }


def test_wrong_settings():
    with pytest.raises(ConfigError, match=r'ioa_thrs=0.5 should be as many as iou_thrs=\[0.5, 0.7\]'):
        OpenImagesMetric(iou_thrs=[0.5, 0.7])
    metric = OpenImagesMetric()
    metric.dataset_meta = {'classes': CLASSES}
    with pytest.raises(ConfigError, match=r'RELATION_MATRIX.*hierarchy_file.*get_supercategory=False'):
        metric.process(None, [sample([], [instance(A, CAT)])])


def iou_of(a, b):
    inter = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return inter / (sum(areas) - inter), inter / areas[0]


def labels_with_ancestors(label):
    return {label} | {parent for parent in range(len(CLASSES)) if INCLUDES[label, parent]}


def plain_scores_of_class(samples, label):
    """(score, right) of the detections of a class that count, and the number of its objects: the rules as loops."""
    rows, total = [], 0
    for detections, instances, verified in samples:
        objects = [one for one in instances if label in labels_with_ancestors(one['bbox_label'])]
        total += len(objects)
        searched = set(verified).union(*(labels_with_ancestors(one['bbox_label']) for one in instances))
        if label not in searched:
            continue
        own = [(box, score) for box, score, found in detections if label in labels_with_ancestors(found)]
        singles = [one['bbox'] for one in objects if not one['is_group_of']]
        groups = [one['bbox'] for one in objects if one['is_group_of']]
        taken, best_in_group = set(), {}
        for box, score in sorted(own, key=lambda pair: -pair[1]):
            overlaps = [iou_of(box, single)[0] for single in singles]
            best = int(np.argmax(overlaps)) if overlaps else None
            if best is not None and overlaps[best] >= 0.5 and best not in taken:
                taken.add(best)
                rows.append((score, True))
                continue
            inside = [iou_of(box, group)[1] for group in groups]
            if inside and max(inside) >= 0.5:
                best_in_group.setdefault(int(np.argmax(inside)), score)
            else:
                rows.append((score, False))
        rows += [(score, True) for score in best_in_group.values()]
    return rows, total


def area_below_curve(rows, total):
    """Average precision as VOC 2012 has it: precision made to fall, summed over the steps of recall."""
    hits = [hit for _, hit in sorted(rows, key=lambda row: -row[0])]
    precisions = [sum(hits[: i + 1]) / (i + 1) for i in range(len(hits))]
    return sum(max(precisions[i:]) / total for i, hit in enumerate(hits) if hit)


@pytest.mark.parametrize('seed', range(6))
def test_scores_are_those_of_the_rules_written_as_loops(seed):
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(15):
        corners = rng.uniform(0, 60, (rng.integers(1, 6), 2))
        boxes = np.concatenate([corners, corners + rng.uniform(10, 40, corners.shape)], 1)
        instances = [instance(box.tolist(), int(rng.integers(3)), bool(rng.random() < 0.3)) for box in boxes]
        around = np.repeat(boxes, 3, axis=0) + rng.normal(0, 4, (3 * len(boxes), 4))
        detections = [(box.tolist(), float(rng.random()), int(rng.integers(3))) for box in around.astype(np.float32)]
        samples.append((detections, instances, rng.integers(0, 3, rng.integers(0, 2)).tolist()))
    packed = [sample(found, known, image_level_labels=np.array(verified, int)) for found, known, verified in samples]
    scores = evaluate(*packed)
    per_class = [plain_scores_of_class(samples, label) for label in range(3)]
    expected = np.mean([area_below_curve(rows, total) for rows, total in per_class if total])
    assert 0.05 < expected < 0.95
    assert scores['openimages/AP50'] == pytest.approx(expected, abs=1e-6)
