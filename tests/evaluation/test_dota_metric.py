import math

import numpy as np
import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.evaluation import CocoMetric, DOTAMetric, DumpProposals, VOCMetric
from mmdetlike.evaluation.functional import eval_map
from mmdetlike.evaluation.functional.overlaps import box_iou
from mmdetlike.structures.bbox import geometry

TURNED = [50.0, 50.0, 40.0, 10.0, math.pi / 4]


def sample(found, scores, truths, labels=None):
    found = torch.tensor(found) if found else torch.zeros(0, 5)
    labels = torch.zeros(len(scores), dtype=torch.long) if labels is None else torch.tensor(labels)
    return dict(
        img_id=0,
        img_path='a.jpg',
        ori_shape=(100, 100),
        pred_instances=dict(bboxes=found, scores=torch.tensor(scores), labels=labels),
        instances=[dict(bbox=box, bbox_label=0, ignore_flag=0) for box in truths],
    )


def score(metric, *samples):
    metric.dataset_meta = dict(classes=('thing',))
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_rotated_overlaps_of_arrays():
    upright = np.array([[50, 50, 40, 10, 0.0]])
    turned = np.array([TURNED])
    # two strips of width 10 that cross at 45 degrees share a rhombus
    shared = 10 * 10 / math.sin(math.pi / 4)
    assert box_iou(upright, turned).item() == pytest.approx(shared / (800 - shared), abs=1e-5)
    assert box_iou(np.zeros((0, 5)), turned).shape == (0, 1)


@pytest.mark.parametrize('numbers', [5, 8])
def test_found_boxes_must_be_turned_as_objects_are(numbers):
    truth = TURNED if numbers == 5 else geometry.corners(torch.tensor(TURNED)).flatten().tolist()
    right = sample([TURNED], [0.9], [truth])
    # the same center and size, turned the other way: overlaps little
    wrong = sample([[*TURNED[:4], -math.pi / 4]], [0.9], [truth])
    assert score(DOTAMetric(eval_mode='area'), right) == {'dota/mAP': 1.0, 'dota/AP50': 1.0}
    assert score(DOTAMetric(eval_mode='area'), wrong) == {'dota/mAP': 0.0, 'dota/AP50': 0.0}
    both = sample([TURNED, [*TURNED[:4], 0.0]], [0.5, 0.9], [truth])
    assert score(DOTAMetric(eval_mode='area'), both)['dota/mAP'] == pytest.approx(0.5)


def test_upright_annotations_and_empty_images():
    upright = sample([[50.0, 50, 40, 10, 0]], [0.9], [[30, 45, 70, 55]])
    nothing = sample([], [], [])
    assert score(DOTAMetric(iou_thrs=[0.5, 0.95]), upright, nothing)['dota/AP95'] == 1.0
    assert score(DOTAMetric(metric='recall', proposal_nums=(1,)), upright) == {'dota/recall@1@0.5': 1.0}


def test_sizes_of_rotated_boxes():
    truth = dict(bboxes=np.array([TURNED]), labels=np.zeros(1, int), ignore=np.zeros(1, bool))
    prediction = dict(bboxes=np.array([TURNED]), scores=np.ones(1), labels=np.zeros(1, int))
    for area_range, expected in (((300, 500), 1), ((500, 900), 0)):  # 40 x 10, not the area of the enclosing box
        assert eval_map([prediction], [truth], 1, area_range=area_range)[0] == expected


@pytest.mark.parametrize('metric', [CocoMetric, VOCMetric, DumpProposals])
def test_metrics_of_axis_aligned_boxes_refuse_rotated_ones(metric, tmp_path):
    options = dict(output_dir=str(tmp_path)) if metric is DumpProposals else {}
    four = [[1.0, 2, 3, 4, 0.1]] * 4  # would be five boxes of four numbers
    with pytest.raises(ConfigError, match=rf'^{metric.__name__} takes axis-aligned boxes, 4 .* \(rotated boxes\)\.$'):
        score(metric(**options), sample(four, [0.9] * 4, [[0, 0, 10, 10]]))


@pytest.mark.parametrize('metric', [CocoMetric, VOCMetric])
def test_turned_annotations_are_refused_too(metric):
    with pytest.raises(ConfigError, match=r'takes axis-aligned boxes, .* got 5 numbers'):
        score(metric(), sample([[0.0, 0, 10, 10]], [0.9], [TURNED]))


def test_rotated_metrics_refuse_axis_aligned_predictions():
    with pytest.raises(ConfigError, match='DOTAMetric takes rotated boxes, 5 numbers each, but got 4 numbers'):
        score(DOTAMetric(), sample([[0.0, 0, 10, 10]], [0.9], [TURNED]))
