"""Average precision by the rules of Cityscapes, held against the numbers of cityscapesscripts."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmdetlike.datasets import DataError
from mmdetlike.errors import ConfigError
from mmdetlike.evaluation import CityScapesMetric, score_names
from mmdetlike.evaluation.functional.cityscapes import INSTANCE_CLASSES, OVERLAPS, average_precision, match_image
from mmdetlike.registry import METRICS

RECORDED = json.loads((Path(__file__).parents[1] / 'data/evaluation/cityscapes.json').read_text())['cases']
NAMES = tuple(INSTANCE_CLASSES)


def instance_ids(image: dict) -> np.ndarray:
    values, counts = zip(*image['runs'])
    return np.repeat(values, counts).reshape(image['shape'])


def masks_of(image: dict) -> list[np.ndarray]:
    masks = []
    for _, _, x, y, width, height in image['predictions']:
        masks.append(np.zeros(image['shape'], bool))
        masks[-1][y : max(y + height, y), x : max(x + width, x)] = True
    return masks


def column(image: dict, number: int) -> np.ndarray:
    return np.array([row[number] for row in image['predictions']])


@pytest.mark.parametrize('case', RECORDED)
def test_classes_have_the_official_numbers(case):
    images = [match_image(instance_ids(i), masks_of(i), column(i, 0), column(i, 1)) for i in case['images']]
    for name, class_id in INSTANCE_CLASSES.items():
        values = [average_precision([image[class_id] for image in images], overlap) for overlap in OVERLAPS]
        expected = np.array(case['classes'][name], float)  # null is NaN
        np.testing.assert_allclose([np.mean(values), values[0]], expected, atol=1e-9)


@pytest.fixture
def run(tmp_path):
    """Score a case by the metric, its truth in files."""

    def score(case, **arguments):
        metric = METRICS.build(dict(type='CityScapesMetric', outfile_prefix=str(tmp_path / 'out'), **arguments))
        metric.dataset_meta = dict(classes=NAMES)
        of_id = {class_id: label for label, class_id in enumerate(INSTANCE_CLASSES.values())}
        samples = []
        (tmp_path / 'gtFine/val/ulm').mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(case['images']):
            path = tmp_path / f'gtFine/val/ulm/ulm_{number}_gtFine_instanceIds.png'
            cv2.imwrite(str(path), instance_ids(image).astype(np.uint16))
            instances = dict(
                masks=torch.from_numpy(np.array(masks_of(image), bool).reshape(-1, *image['shape'])),
                labels=torch.tensor([of_id[i] for i in column(image, 0).tolist()], dtype=torch.long),
                scores=torch.from_numpy(column(image, 1).astype(np.float64)),
            )
            picture = tmp_path / f'leftImg8bit/val/ulm/ulm_{number}_leftImg8bit.png'
            samples.append(dict(img_path=str(picture), pred_instances=instances))
        metric.process(None, samples)
        return metric.evaluate(len(samples))

    return score


@pytest.mark.parametrize('has_prefix', [True, False])
def test_scores_are_means_over_annotated_classes(run, tmp_path, has_prefix):
    case = RECORDED[0]
    scores = run(case, **(dict(seg_prefix=str(tmp_path / 'gtFine/val')) if has_prefix else {}))
    assert scores == pytest.approx({'cityscapes/mAP': case['ap'], 'cityscapes/AP@50': case['ap50']})
    assert score_names(CityScapesMetric('x'), NAMES) == list(scores)


def test_files_for_the_server_are_written(run, tmp_path):
    assert run(RECORDED[0], format_only=True) == {}
    image = RECORDED[0]['images'][1]
    rows = (tmp_path / 'out/ulm_1_leftImg8bit_pred.txt').read_text().splitlines()
    assert [row.split()[1:] for row in rows] == [[str(row[0]), str(row[1])] for row in image['predictions']]
    for row, mask in zip(rows, masks_of(image)):
        written = cv2.imread(str(tmp_path / 'out' / row.split()[0]), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(written > 0, mask)


def test_what_is_wrong_is_told(run, tmp_path):
    metric = CityScapesMetric('out')
    metric.dataset_meta = dict(classes=('cat', 'car'))
    with pytest.raises(ConfigError, match=r'knows instances of person, .* the dataset has the classes cat'):
        metric.process(None, [])
    with pytest.raises(ConfigError, match='outfile_prefix=None should be the folder'):
        CityScapesMetric(None)
    with pytest.raises(DataError, match=r'a\.png: expected a name that ends in leftImg8bit\.png'):
        metric.truth_path('a.png')
    with pytest.raises(FileNotFoundError, match='nowhere'):
        run(RECORDED[0], seg_prefix=str(tmp_path / 'nowhere'))
