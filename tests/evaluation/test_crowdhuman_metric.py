"""CrowdHumanMetric: scores by hand, and against the published evaluation's loops written out."""

import itertools
import json

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from mmdetlike.datasets.errors import DataError
from mmdetlike.errors import ConfigError
from mmdetlike.evaluation import CrowdHumanMetric
from mmdetlike.evaluation.functional.crowd import (
    MISS_RATE_POINTS,
    CrowdImage,
    average_precision,
    jaccard_index,
    log_average_miss_rate,
    match_image,
    ranked_hits,
)

A, B, C = [0, 0, 10, 10], [20, 20, 40, 40], [50, 50, 90, 90]


def image(found=(), scores=(), boxes=(), ignore=None):
    arrays = [np.array(rows, dtype=float).reshape(-1, 4) for rows in (found, boxes)]
    ignore = np.zeros(len(boxes), bool) if ignore is None else np.array(ignore, bool)
    return CrowdImage(arrays[0], np.array(scores, float), arrays[1], ignore)


def random_images(count=12, seed=0):
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        corners = rng.uniform(0, 80, (8, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(15, 40, (8, 2))], 1)
        found = np.concatenate([boxes[:6], boxes[:6], boxes[3:]]) + rng.normal(0, 3, (17, 4))
        images.append(CrowdImage(found, rng.random(17).round(3), boxes, np.arange(8) >= 6))
    return images


def overlap(a, b, of_a=False):
    inter = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return inter / ((areas[0] if of_a else sum(areas) - inter) + 1e-6)


def published_matching(one, thr=0.5):
    """The loops over boxes and persons as the published code has them: persons first, then regions to ignore."""
    order = np.argsort(one.ignore, kind='stable')
    gts = [(one.boxes[i], one.ignore[i]) for i in order]
    taken, result = set(), []
    for i in np.argsort(-one.scores, kind='stable'):
        best, most = -1, thr
        for j, (box, ignore) in enumerate(gts):
            if j in taken:
                continue
            if not ignore:
                value = overlap(one.found[i], box)
                if value > most:
                    most, best = value, j
            elif best >= 0:
                break
            elif overlap(one.found[i], box, of_a=True) > thr:
                best = j
        if best < 0:
            result.append((one.scores[i], 0))
        elif not gts[best][1]:
            taken.add(best)
            result.append((one.scores[i], 1))
    return result


@pytest.mark.parametrize('seed', range(5))
def test_matching_is_the_published_one(seed):
    for one in random_images(seed=seed):
        scores, hits = match_image(one, 0.5)
        assert list(zip(scores, hits.astype(int))) == published_matching(one)


@pytest.mark.parametrize('seed', range(5))
def test_ap_and_miss_rate_are_the_published_ones(seed):
    images = random_images(seed=seed)
    ranked = sorted((row for one in images for row in published_matching(one)), key=lambda row: -row[0])
    total, right, wrong, curve = 6 * len(images), 0, 0, []
    for _, hit in ranked:
        right, wrong = right + hit, wrong + 1 - hit
        curve.append((right / total, right / (right + wrong), wrong / len(images)))
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(curve))
    points = MISS_RATE_POINTS['CALTECH_-2']
    rates = [next((1 - r for r, _, f in curve if f >= point), 1 - curve[-1][0]) for point in points]
    hits = ranked_hits(images, 0.5)
    assert average_precision(hits, total) == pytest.approx(area, abs=1e-9)
    assert 0.3 < area < 0.95
    assert log_average_miss_rate(hits, total, len(images), points) == pytest.approx(np.exp(np.log(rates).mean()))


@pytest.mark.parametrize('seed', range(5))
def test_the_jaccard_index_makes_as_many_pairs_as_can_be(seed):
    drawn = random_images(seed=seed)
    images = [CrowdImage(one.found, one.scores, one.boxes[:6], one.ignore[:6]) for one in drawn]
    expected = []
    for one in images:
        found = one.found[one.scores >= 0.4]
        close = np.array([[overlap(a, b) >= 0.5 for b in one.boxes] for a in found])
        rows, columns = linear_sum_assignment(close, maximize=True)
        pairs = close[rows, columns].sum()
        expected.append(pairs / (6 + len(found) - pairs + 1e-6))
    assert jaccard_index(images, 0.5, 0.4) == pytest.approx(np.mean(expected), abs=1e-9)
    assert 0.2 < np.mean(expected) < 0.8


def test_the_jaccard_index_leaves_out_low_scores_and_what_lies_in_regions_to_ignore():
    assert jaccard_index([image([A, A, C], [0.9, 0.8, 0.2], [A, B])], 0.5, 0.5) == pytest.approx(1 / 3, abs=1e-6)
    assert jaccard_index([image([A, C], [0.9, 0.8], [A, C], [False, True])], 0.5, 0.5) == pytest.approx(1, abs=1e-5)


def test_regions_to_ignore_and_second_boxes():
    one = image([A, A, C, B], [0.9, 0.8, 0.7, 0.6], [A, C], [False, True])
    scores, hits = match_image(one, 0.5)
    assert scores.tolist() == [0.9, 0.8, 0.6]
    assert hits.tolist() == [True, False, False]


def test_a_taken_person_leaves_the_next_best_one_unless_matched_as_voc_does():
    near = [1, 0, 11, 10]
    one = image([A, A], [0.9, 0.8], [A, near])
    assert match_image(one, 0.5)[1].tolist() == [True, True]
    assert match_image(one, 0.5, takes_best_only=True)[1].tolist() == [True, False]


def test_nothing_found_and_nobody_there():
    assert average_precision(np.zeros(0, bool), 3) == 0
    assert log_average_miss_rate(np.zeros(0, bool), 3, 1, [1]) == 1
    assert log_average_miss_rate(np.ones(2, bool), 2, 1, [1]) == 0
    assert ranked_hits([image(), image([A], [0.5])], 0.5).tolist() == [False]
    assert jaccard_index([image()], 0.5, 0) == 0


def sample(img_id, boxes, scores, **extra):
    found = {'bboxes': torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), 'scores': torch.tensor(scores)}
    return {'img_id': img_id, 'ori_shape': (100, 100), 'pred_instances': found, **extra}


def write(folder, *lines):
    path = folder / 'annotation_val.odgt'
    path.write_text('\n'.join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return str(path)


def person(x1, y1, x2, y2, **extra):
    return {'tag': 'person', 'fbox': [x1, y1, x2 - x1, y2 - y1], 'hbox': [x1, y1, 2, 2], **extra}


def test_from_a_file(tmp_path):
    rows = [
        person(*A),
        person(-20, 20, 40, 40),
        person(*C, extra={'ignore': 1}),
        {**person(0, 90, 10, 99), 'tag': 'mask'},
    ]
    metric = CrowdHumanMetric(write(tmp_path, {'ID': 'a,1', 'gtboxes': rows}))
    # a person that reaches over the border is cut off there, as the box found
    metric.process(None, [sample('a,1', [A, [0, 20, 40, 40], C], [0.9, 0.8, 0.95])])
    scores = metric.evaluate(1)
    assert scores == {
        'crowd_human/mAP': pytest.approx(0.5),
        'crowd_human/mMR': 0,
        'crowd_human/JI': pytest.approx(1, abs=1e-5),
    }
    assert metric.score_names(()) == ['mAP', 'mMR', 'JI']


def test_heads_and_truth_from_samples(tmp_path):
    heads = CrowdHumanMetric(write(tmp_path, {'ID': 1, 'gtboxes': [person(*B)]}), metric='JI', eval_mode=1)
    heads.process(None, [sample('1', [[20, 20, 22, 22]], [0.9])])
    assert heads.evaluate(1) == {'crowd_human/JI': pytest.approx(1, abs=1e-5)}
    carried = CrowdHumanMetric(metric='JI')
    carried.process(
        None, [sample(1, [A], [0.9], instances=[{'bbox': A, 'bbox_label': 0}, {'bbox': B, 'bbox_label': 0}])]
    )
    assert carried.evaluate(1) == {'crowd_human/JI': pytest.approx(0.5, abs=1e-5)}


def test_predictions_are_written(tmp_path):
    metric = CrowdHumanMetric(format_only=True, outfile_prefix=str(tmp_path / 'found'))
    metric.process(None, [sample('a', [B], [0.5])])
    assert metric.evaluate(1) == {}
    written = json.loads((tmp_path / 'found.json').read_text())
    assert written == [{'ID': 'a', 'dtboxes': [{'box': [20, 20, 20, 20], 'score': 0.5, 'tag': 1}]}]


@pytest.mark.parametrize(
    ('line', 'sentence'),
    [
        ('{', r'annotation_val.odgt, line 2: expected a picture as a JSON object, got'),
        ({'ID': 'a', 'gtboxes': []}, "line 2: picture 'a' is there already"),
        ({'gtboxes': []}, "line 2: a picture lacks 'ID'"),
        ({'ID': 'b', 'gtboxes': 3}, "line 2: picture 'b' has gtboxes=3; expected a list of boxes"),
        ({'ID': 'b', 'gtboxes': [{'tag': 'person', 'fbox': [1]}]}, "picture 'b': a box tagged 'person' has fbox="),
    ],
)
def test_wrong_lines_are_named(tmp_path, line, sentence):
    with pytest.raises(DataError, match=sentence):
        CrowdHumanMetric(write(tmp_path, {'ID': 'a', 'gtboxes': []}, line))


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (dict(metric='ap'), "metric should be one of AP, MR, JI, got 'ap'"),
        (dict(eval_mode=2), r'eval_mode should be 0 \(full bodies\) or 1 \(heads\), got 2'),
        (dict(mr_ref='x'), "mr_ref should be one of CALTECH_-2, CALTECH_-4, got 'x'"),
        (dict(compare_matching_method='x'), "compare_matching_method should be one of .* got 'x'"),
        (dict(format_only=True), 'set outfile_prefix'),
        (dict(iou_thres=50), r'iou_thres=\[50\] should be overlaps'),
    ],
)
def test_wrong_arguments(arguments, sentence):
    with pytest.raises(ConfigError, match=sentence):
        CrowdHumanMetric(**arguments)


def test_an_image_that_the_file_lacks(tmp_path):
    metric = CrowdHumanMetric(write(tmp_path, {'ID': 'a', 'gtboxes': []}))
    with pytest.raises(DataError, match="odgt has no image 'b', which was predicted"):
        metric.process(None, [sample('b', [A], [0.9])])
