"""SemSegMetric: scores by hand."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmdetlike.datasets.errors import DataError
from mmdetlike.errors import ConfigError
from mmdetlike.evaluation import SemSegMetric

TRUTH = np.array([[0, 0, 0, 1], [0, 1, 255, 255]], np.uint8)
FOUND = np.array([[0, 0, 1, 1], [2, 1, 0, 1]])


def sample(found=FOUND, truth=TRUTH, **extra):
    row = {'img_id': 7, 'pred_sem_seg': {'sem_seg': torch.as_tensor(found)[None]}, **extra}
    return row if truth is None else row | {'gt_sem_seg': {'sem_seg': torch.as_tensor(truth)[None]}}


def metric(classes=('cat', 'dog', 'sky'), **kwargs):
    made = SemSegMetric(**kwargs)
    made.dataset_meta = {'classes': classes}
    return made


def evaluate(*samples, **kwargs):
    made = metric(**kwargs)
    made.process(None, list(samples))
    return made.evaluate(len(samples))


def test_scores_by_hand():
    # class 0: 2 right of 4 annotated and 2 predicted; class 1: 2 right of 2 and 3; class 2 is annotated nowhere
    assert evaluate(sample()) == {
        'sem_seg/mIoU': pytest.approx(100 * (2 / 4 + 2 / 3) / 2),
        'sem_seg/mACC': pytest.approx(100 * (2 / 4 + 1) / 2),
        'sem_seg/fwIoU': pytest.approx(100 * (4 * 2 / 4 + 2 * 2 / 3) / 6),
        'sem_seg/pACC': pytest.approx(100 * 4 / 6),
    }


def test_dice_and_f_score():
    scores = evaluate(sample(), iou_metrics=['mDice', 'mFscore'], beta=2)
    assert scores['sem_seg/mDice'] == pytest.approx(100 * (4 / 6 + 4 / 5) / 2)
    assert scores['sem_seg/mPrecision'] == pytest.approx(100 * (1 + 2 / 3) / 2)
    f = [5 * 1 * 0.5 / (4 * 1 + 0.5), 5 * 2 / 3 / (4 * 2 / 3 + 1)]
    assert scores['sem_seg/mFscore'] == pytest.approx(100 * sum(f) / 2)


def test_pixels_of_all_images_are_counted_together():
    full = np.zeros((2, 4), np.uint8)
    scores = evaluate(sample(), sample(full, full))
    assert scores['sem_seg/mIoU'] == pytest.approx(100 * (10 / 12 + 2 / 3) / 2)


def test_truth_from_the_file_and_predictions_to_one(tmp_path):
    path = tmp_path / 'truth.png'
    cv2.imwrite(str(path), TRUTH)
    row = sample(truth=None, seg_map_path=str(path), img_path='x/picture.jpg')
    assert evaluate(row, output_dir=str(tmp_path / 'out')) == evaluate(sample())
    assert cv2.imread(str(tmp_path / 'out/picture.png'), cv2.IMREAD_UNCHANGED).tolist() == FOUND.tolist()


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(DataError, match=r'image 7: predicted classes are of \(h, w\) = \(2, 3\), annotated ones of'):
        evaluate(sample(FOUND[:, :3]))
    with pytest.raises(DataError, match='annotated with 9, expected 0 to 2, or 255'):
        evaluate(sample(truth=np.full((2, 4), 9)))
    with pytest.raises(ConfigError, match=r'finds no truth.*with_seg=True'):
        evaluate(sample(truth=None))
    with pytest.raises(DataError, match='needs pred_sem_seg'):
        metric().process(None, [{'img_id': 1}])
    with pytest.raises(ConfigError, match=r"iou_metrics should be of mIoU, mDice, mFscore, got \['IoU'\]"):
        SemSegMetric(['IoU'])
    with pytest.raises(ConfigError, match='set output_dir'):
        SemSegMetric(format_only=True)
    with pytest.raises(ConfigError, match='beta=0 should be'):
        SemSegMetric(beta=0)


def test_names_are_known_before():
    made = metric(iou_metrics=['mIoU', 'mDice'])
    made.process(None, [sample()])
    assert [f'sem_seg/{name}' for name in made.score_names(())] == list(made.evaluate(1))


def test_values_of_a_file_become_labels(tmp_path):
    path = tmp_path / 'truth.png'
    by_file = sample(truth=None, seg_map_path=str(path))
    cv2.imwrite(str(path), np.where(TRUTH == 255, 9, TRUTH + 30).astype(np.uint8))
    made = metric()
    made.dataset_meta['label_map'] = {30: 0, 31: 1}
    made.process(None, [by_file])
    assert made.evaluate(1) == evaluate(sample())

    cv2.imwrite(str(path), np.where(TRUTH == 255, 9, TRUTH.astype(np.uint16) * 1000 + 300))
    made.dataset_meta['label_map'] = {300: 0, 1300: 1}
    made.process(None, [by_file])
    assert made.evaluate(1) == evaluate(sample())

    picture = Image.fromarray(TRUTH.astype(np.uint8), 'P')
    picture.putpalette([number % 256 for number in range(768)])
    picture.save(path)  # the indices are the labels, not the colors
    assert evaluate(by_file) == evaluate(sample())

    cv2.imwrite(str(path), np.where(TRUTH == 255, 0, TRUTH + 1).astype(np.uint8))
    assert evaluate({**by_file, 'reduce_zero_label': True}) == evaluate(sample())
