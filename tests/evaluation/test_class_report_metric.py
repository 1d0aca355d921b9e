"""ClassReportMetric: operating points and confusion by hand."""

import csv

import cv2
import numpy as np
import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.evaluation import ClassReportMetric
from mmdetlike.evaluation.functional.operating_points import OperatingPoint, best_point, confusion_matrix

A, B, C, D = [0, 0, 10, 10], [20, 20, 40, 40], [50, 50, 90, 90], [0, 50, 20, 90]
CLASSES = ('cat', 'dog')


def sample(found, objects):
    boxes, scores, labels = zip(*found) if found else ((), (), ())
    predicted = {
        'bboxes': torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
        'scores': torch.tensor(scores, dtype=torch.float64),
        'labels': torch.tensor(labels, dtype=torch.long),
    }
    instances = [{'bbox': box, 'bbox_label': label, 'ignore_flag': ignore} for box, label, ignore in objects]
    return {'img_id': 0, 'ori_shape': (100, 100), 'pred_instances': predicted, 'instances': instances}


def evaluate(*samples, **kwargs):
    metric = ClassReportMetric(**kwargs)
    metric.dataset_meta = {'classes': CLASSES}
    metric.process(None, list(samples))
    return metric.evaluate(len(samples))


ONE = sample(
    [(A, 0.9, 0), (B, 0.6, 0), (C, 0.5, 0), (D, 0.4, 1)],
    [(A, 0, 0), (C, 0, 0), (B, 1, 0), (D, 1, 1)],
)


def test_the_best_threshold_of_a_class():
    assert best_point(np.array([0.9, 0.6, 0.5]), np.array([True, False, True]), 2) == OperatingPoint(
        0.5, pytest.approx(2 / 3), 1.0, pytest.approx(0.8)
    )
    # equal scores are taken together
    assert best_point(np.array([0.5, 0.5]), np.array([True, False]), 1).precision == 0.5
    assert best_point(np.zeros(0), np.zeros(0, bool), 3) == OperatingPoint(1.0, 0.0, 0.0, 0.0)
    assert np.isnan(best_point(np.ones(1), np.zeros(1, bool), 0).f1)


def test_scores():
    scores = evaluate(ONE)
    assert scores['report/cat_F1'] == pytest.approx(0.8)
    assert scores['report/cat_threshold'] == 0.5
    assert scores['report/dog_recall'] == 0  # the one found is a difficult one
    assert scores['report/F1'] == pytest.approx(0.4)
    assert list(scores) == [f'report/{name}' for name in ClassReportMetric().score_names(CLASSES)]


def test_confusion(tmp_path):
    evaluate(ONE, sample([(A, 0.8, 1), (A, 0.2, 0)], []), out_dir=str(tmp_path))
    with open(tmp_path / 'confusion_matrix.csv') as file:
        rows = list(csv.reader(file))
    assert rows == [
        ['annotated \\ found', 'cat', 'dog', 'background'],
        ['cat', '2', '0', '0'],
        ['dog', '1', '0', '0'],
        ['background', '0', '1', '0'],
    ]
    assert cv2.imread(str(tmp_path / 'confusion_matrix.png')).shape[2] == 3
    assert (tmp_path / 'class_report.csv').read_text().startswith('class,precision,recall,F1,threshold')


def test_objects_that_nothing_finds_are_background():
    truth = {'bboxes': np.array([A, B], float), 'labels': np.array([1, 0]), 'ignore': np.array([False, False])}
    found = {'bboxes': np.array([A], float), 'scores': np.array([0.9]), 'labels': np.array([1])}
    assert confusion_matrix([found], [truth], 2, 0.5, 0.5).tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_wrong_arguments():
    with pytest.raises(ConfigError, match='score_thr=30 should be a number from 0 to 1'):
        ClassReportMetric(score_thr=30)
    with pytest.raises(ConfigError, match=r'iou_thr=\[0\] should be overlaps'):
        ClassReportMetric(iou_thr=0)
