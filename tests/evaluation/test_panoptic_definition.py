"""CocoPanopticMetric against the definition of PQ (arXiv:1801.00868, section 4), written out as loops over segments."""

import json
from collections import defaultdict

import numpy as np
import pytest
import torch
from PIL import Image

from mmdetlike.evaluation import CocoPanopticMetric

THINGS, STUFF, SIDE = 3, 2, 40
CLASSES = [f'class {number}' for number in range(THINGS + STUFF)]
NOTHING = len(CLASSES)
FIRST_ID = 10  # of the categories


def random_scene(random) -> tuple[np.ndarray, dict, np.ndarray]:
    """Truth (h, w) of segment ids, 0 for void; class and crowd mark of each; prediction, label + 1000 * number."""
    truth = np.zeros((SIDE, SIDE), int)
    found = np.full((SIDE, SIDE), NOTHING)
    segments = {}
    for number in range(1, random.randint(2, 8)):
        label = int(random.randint(THINGS + STUFF))
        if label >= THINGS and label in {known for known, _ in segments.values()}:
            continue
        x, y = random.randint(0, 30, 2)
        width, height = random.randint(5, 18, 2)
        truth[y : y + height, x : x + width] = number * 300
        segments[number * 300] = (label, int(label < THINGS and random.rand() < 0.2))
        if random.rand() < 0.85:
            other = label if random.rand() < 0.85 else int(random.randint(THINGS))
            left, top = np.maximum(0, (x, y) + random.randint(-2, 3, 2))
            found[top : top + height, left : left + width] = other + 1000 * number * (other < THINGS)
    if random.rand() < 0.5:
        found[:4, :20] = 1000 * 50
    return truth, {key: value for key, value in segments.items() if (truth == key).any()}, found


def count(truth: np.ndarray, segments: dict, found: np.ndarray, counts: dict) -> None:
    """Add to ``counts`` the pairs, overlaps, false positives and false negatives of a scene, by class."""
    predicted = {value: value % 1000 for value in np.unique(found).tolist() if value != NOTHING}
    void = truth == 0
    matched = set()
    for key, (label, crowd) in segments.items():
        pairs = [value for value, other in predicted.items() if other == label and not crowd]
        overlaps = {value: overlap(truth == key, found == value, void) for value in pairs}
        partner = next((value for value, iou in overlaps.items() if iou > 0.5), None)
        counts['missed'][label] += partner is None and not crowd
        if partner is not None:
            counts['pairs'][label] += 1
            counts['overlaps'][label] += overlaps[partner]
            matched.add(partner)
    for value in predicted.keys() - matched:
        label = predicted[value]
        ignored = void.copy()
        for key, (other, crowd) in segments.items():
            ignored |= (truth == key) & bool(crowd and other == label)
        counts['wrong'][label] += ignored[found == value].mean() <= 0.5


def overlap(first: np.ndarray, second: np.ndarray, void: np.ndarray) -> float:
    """Intersection over union without the void pixels of the second."""
    return (first & second).sum() / (first | (second & ~void)).sum()


def scores(counts: dict) -> dict[str, float]:
    """PQ, SQ and RQ in percent, of all classes, things and stuff."""
    pairs, overlaps, wrong, missed = (
        np.array([counts[key][label] for label in range(len(CLASSES))])
        for key in ('pairs', 'overlaps', 'wrong', 'missed')
    )
    seen = pairs + wrong + missed > 0
    half = np.where(seen, pairs + (wrong + missed) / 2, 1)
    each = {'PQ': overlaps / half, 'SQ': overlaps / np.maximum(pairs, 1), 'RQ': pairs / half}
    is_thing = np.arange(len(CLASSES)) < THINGS
    groups = {'': seen, '_th': seen & is_thing, '_st': seen & ~is_thing}
    return {f'{name}{end}': 100 * values[rows].mean() for name, values in each.items() for end, rows in groups.items()}


@pytest.mark.parametrize('seed', range(4))
def test_scores_are_those_of_the_definition(tmp_path, seed):
    random = np.random.RandomState(seed)
    counts = defaultdict(lambda: defaultdict(float))
    content = dict(images=[], annotations=[])
    predictions = []
    for number in range(8):
        truth, segments, found = random_scene(random)
        count(truth, segments, found, counts)
        colors = np.stack([truth % 256, truth // 256, 0 * truth], -1)
        Image.fromarray(colors.astype(np.uint8)).save(tmp_path / f'{number}.png')
        content['images'].append(dict(id=number, file_name=f'{number}.jpg', width=SIDE, height=SIDE))
        infos = [segment_info(key, truth == key, *marks) for key, marks in segments.items()]
        content['annotations'].append(dict(image_id=number, file_name=f'{number}.png', segments_info=infos))
        panoptic = dict(sem_seg=torch.tensor(found)[None])
        predictions.append(dict(img_id=number, ori_shape=(SIDE, SIDE), pred_panoptic_seg=panoptic))
    content['categories'] = [
        dict(id=FIRST_ID + label, name=name, isthing=int(label < THINGS)) for label, name in enumerate(CLASSES)
    ]
    (tmp_path / 'truth.json').write_text(json.dumps(content))
    metric = CocoPanopticMetric(str(tmp_path / 'truth.json'), seg_prefix=str(tmp_path))
    metric.dataset_meta = dict(classes=CLASSES, thing_classes=CLASSES[:THINGS], stuff_classes=CLASSES[THINGS:])
    metric.process(None, predictions)
    expected = scores(counts)
    given = strip(metric.evaluate(8))
    assert {name: given[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert 0 < expected['PQ'] < 100


def strip(values: dict[str, float]) -> dict[str, float]:
    """Scores without the prefix of their names."""
    return {name.split('/')[-1]: value for name, value in values.items()}


def segment_info(key: int, pixels: np.ndarray, label: int, crowd: int) -> dict:
    """What a panoptic file says about a segment."""
    ys, xs = np.nonzero(pixels)
    box = [int(value) for value in (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)]
    return dict(id=key, category_id=FIRST_ID + label, iscrowd=crowd, area=int(pixels.sum()), bbox=box)
