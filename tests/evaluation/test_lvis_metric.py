"""LVISMetric against recorded scores of the official evaluator."""

import json
from pathlib import Path

import pytest
import torch

from mmdetlike.datasets.errors import DataError
from mmdetlike.errors import ConfigError
from mmdetlike.evaluation import LVISMetric
from mmdetlike.registry import METRICS

CASE = json.loads((Path(__file__).parents[1] / 'data/evaluation/lvis.json').read_text())
CLASSES = [category['name'] for category in CASE['truth']['categories']]
LABELS = {category['id']: label for label, category in enumerate(CASE['truth']['categories'])}


def write(folder, **changes):
    path = folder / 'lvis.json'
    path.write_text(json.dumps({**CASE['truth'], **changes}))
    return str(path)


def samples():
    for image in CASE['truth']['images']:
        rows = [row for row in CASE['results'] if row['image_id'] == image['id']]
        boxes = torch.tensor([row['bbox'] for row in rows], dtype=torch.float64)
        boxes[:, 2:] += boxes[:, :2]
        yield {
            'img_id': image['id'],
            'ori_shape': (image['height'], image['width']),
            'pred_instances': {
                'bboxes': boxes,
                'scores': torch.tensor([row['score'] for row in rows], dtype=torch.float64),
                'labels': torch.tensor([LABELS[row['category_id']] for row in rows]),
                'masks': [row['segmentation'] for row in rows],
            },
        }


def evaluate(ann_file, classes=CLASSES, **kwargs):
    metric = LVISMetric(ann_file, **kwargs)
    metric.dataset_meta = {'classes': classes}
    metric.process(None, list(samples()))
    return metric.evaluate(len(CASE['truth']['images']))


def test_scores_are_those_of_the_official_evaluator(tmp_path):
    scores = evaluate(write(tmp_path), metric=['bbox', 'segm'])
    for kind in ('bbox', 'segm'):
        names = ['AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf']
        expected = {f'lvis/{kind}_{name}': CASE['scores'][kind][name] for name in names}
        assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-9)
        assert 0.05 < expected[f'lvis/{kind}_AP'] < 0.95
    assert len(scores) == 18


def test_the_number_of_detections_of_an_image_is_for_all_classes_together(tmp_path):
    scores = evaluate(write(tmp_path), max_detections=8)
    assert scores['lvis/bbox_AP'] == pytest.approx(CASE['scores']['bbox_8']['AP'], abs=1e-9)
    assert CASE['scores']['bbox_8']['AP'] != pytest.approx(CASE['scores']['bbox']['AP'], abs=1e-3)


def test_recall_of_proposals(tmp_path):
    scores = evaluate(write(tmp_path), metric='proposal')
    names = {f'lvis/AR{size}@300': CASE['scores']['proposal'][f'AR{size}@300'] for size in ('', 's', 'm', 'l')}
    assert scores == pytest.approx(names, abs=1e-9)


def test_scores_of_each_class_and_a_choice_of_scores(tmp_path):
    scores = evaluate(write(tmp_path), classwise=True, metric_items=['APr'])
    assert list(scores) == ['lvis/bbox_APr', *(f'lvis/{name}_precision' for name in CLASSES)]
    rare = [scores[f'lvis/{name}_precision'] for name in CLASSES[::3]]
    assert sum(rare) / len(rare) == pytest.approx(scores['lvis/bbox_APr'])


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'categories': [{'id': 1, 'name': 'a'}]}, "a category lacks 'frequency'"),
        ({'categories': [{'id': 1, 'name': 'a', 'frequency': 'x'}]}, "category 1 has frequency='x'; expected 'r', 'c'"),
        ({'images': [{'id': 7, 'width': 9, 'height': 9}]}, "lacks 'neg_category_ids'"),
        (
            {'images': [{'id': 7, 'neg_category_ids': 3, 'not_exhaustive_category_ids': []}]},
            'image 7 has neg_category_ids=3; expected a list of ids of categories',
        ),
    ],
)
def test_what_a_coco_file_lacks_is_named(tmp_path, changes, sentence):
    with pytest.raises(DataError, match=sentence) as error:
        LVISMetric(write(tmp_path, **changes))
    assert 'lvis.json' in str(error.value)


def test_negative_categories_have_to_be_listed(tmp_path):
    images = [{**CASE['truth']['images'][0], 'neg_category_ids': [99]}, *CASE['truth']['images'][1:]]
    with pytest.raises(DataError, match='neg_category_ids of image 100 has 99; expected ids of listed categories'):
        evaluate(write(tmp_path, images=images))


def test_wrong_arguments(tmp_path):
    with pytest.raises(ConfigError, match='LVISMetric has no ann_file: only the annotation file says'):
        METRICS.build(dict(type='LVISMetric'))
    with pytest.raises(ConfigError, match=r"metric should be one of bbox, segm, proposal, .* got 'keypoints'"):
        LVISMetric(write(tmp_path), metric='keypoints')
    with pytest.raises(ConfigError, match=r"metric_items \['mAP'\] are not among \['AP', 'AP50'"):
        LVISMetric(write(tmp_path), metric_items=['mAP'])
