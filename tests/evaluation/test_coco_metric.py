import contextlib
import io
import json

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as rle

from mmdetlike.datasets import ShapesDataset, errors
from mmdetlike.datasets.errors import DataError
from mmdetlike.errors import ConfigError
from mmdetlike.evaluation import CocoMetric

CLASSES = ('cat', 'dog', 'cow')
SIZE = (200, 300)


@pytest.fixture
def messages(monkeypatch):
    logged = []
    monkeypatch.setattr(errors, 'print_log', lambda message, **kwargs: logged.append(message))
    return logged


def instance(box, label=0, **extra):
    return {'bbox': list(box), 'bbox_label': label, 'ignore_flag': 0, **extra}


def predicted(boxes=(), scores=(), labels=(), **extra):
    return {
        'bboxes': torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        'scores': torch.tensor(scores, dtype=torch.float32),
        'labels': torch.tensor(labels, dtype=torch.long),
        **extra,
    }


def sample(img_id, instances, prediction):
    return {'img_id': img_id, 'ori_shape': SIZE, 'instances': instances, 'pred_instances': prediction}


def evaluate(samples, classes=CLASSES, meta=None, **kwargs):
    metric = CocoMetric(**kwargs)
    metric.dataset_meta = {'classes': classes, **(meta or {})}
    for start in range(0, len(samples), 2):
        metric.process(None, samples[start : start + 2])
    return metric.evaluate(len(samples))


BOX, OTHER = (10, 10, 50, 50), (100, 100, 140, 160)


def test_perfect_predictions():
    scores = evaluate([sample(0, [instance(BOX), instance(OTHER, 1)], predicted([BOX, OTHER], [0.9, 0.8], [0, 1]))])
    assert scores == {
        'coco/bbox_mAP': 1,
        'coco/bbox_mAP_50': 1,
        'coco/bbox_mAP_75': 1,
        'coco/bbox_mAP_s': -1,
        'coco/bbox_mAP_m': 1,
        'coco/bbox_mAP_l': -1,
    }


def test_images_may_have_names_in_place_of_numbers():
    right = predicted([BOX], [0.9], [0])
    samples = [sample('a', [instance(BOX)], right), sample('b', [instance(OTHER)], right)]
    numbered = [{**s, 'img_id': i} for i, s in enumerate(samples)]
    assert evaluate(samples) == evaluate(numbered)
    assert 0 < evaluate(samples)['coco/bbox_mAP'] < 1


def test_scores_by_hand():
    # IoU 0.8 counts at 7 of the 10 thresholds (0.5 to 0.8)
    shifted = (10, 10, 50, 42)
    assert evaluate([sample(0, [instance(BOX)], predicted([shifted], [0.9], [0]))])['coco/bbox_mAP'] == pytest.approx(
        0.7
    )
    # of two objects one is found: precision 1 up to recall 0.5, which is 51 of the 101 recall steps
    half = evaluate([sample(0, [instance(BOX), instance(OTHER)], predicted([BOX], [0.9], [0]))])
    assert half['coco/bbox_mAP'] == pytest.approx(51 / 101)
    # a better-scored wrong box halves the precision of the right one
    wrong = evaluate([sample(0, [instance(BOX)], predicted([OTHER, BOX], [0.9, 0.8], [0, 0]))])
    assert wrong['coco/bbox_mAP'] == pytest.approx(0.5)
    # the right box under another class is wrong
    assert evaluate([sample(0, [instance(BOX)], predicted([BOX], [0.9], [1]))])['coco/bbox_mAP'] == 0


def test_crowds_are_neither_right_nor_wrong_to_find():
    crowd = {**instance(OTHER), 'ignore_flag': 1}
    scores = evaluate([sample(0, [instance(BOX), crowd], predicted([OTHER, BOX], [0.9, 0.8], [0, 0]))])
    assert scores['coco/bbox_mAP'] == 1


def test_each_class():
    samples = [sample(0, [instance(BOX), instance(OTHER, 1)], predicted([BOX], [0.9], [0]))]
    scores = evaluate(samples, classwise=True)
    assert scores['coco/cat_precision'] == 1
    assert scores['coco/dog_precision'] == 0
    assert np.isnan(scores['coco/cow_precision'])
    assert scores['coco/bbox_mAP'] == 0.5


def test_no_predictions_at_all(messages):
    scores = evaluate([sample(0, [instance(BOX)], predicted())], metric=['bbox', 'proposal', 'proposal_fast'])
    assert scores['coco/bbox_mAP'] == scores['coco/AR@100'] == 0
    assert 'proposal and proposal_fast share names, the last one is reported' in messages[0]
    assert 'there is no prediction at all for bbox' in messages[1]


def test_no_ground_truth():
    assert evaluate([sample(0, [], predicted([BOX], [0.9], [0]))])['coco/bbox_mAP'] == -1


def test_proposals_by_hand():
    boxes = [OTHER, BOX, (0, 0, 5, 5)]
    samples = [sample(0, [instance(BOX, 2), instance(OTHER, 1)], predicted(boxes, [0.9, 0.5, 0.7], [0, 0, 0]))]
    for metric in ('proposal', 'proposal_fast'):
        scores = evaluate(samples, metric=metric, proposal_nums=(1, 2, 3))
        assert [scores[f'coco/AR@{n}'] for n in (1, 2, 3)] == [0.5, 0.5, 1]
    scores = evaluate(samples, metric='proposal', metric_items=['AR_m@1000', 'AR@300'])
    assert scores == {'coco/AR_m@1000': 1, 'coco/AR@300': 1}


def shapes_samples(length=12, jitter=3.0, seed=0):
    """Samples of ShapesDataset with predictions near the truth, some missing, some wrong."""
    rng = np.random.default_rng(seed)
    dataset = ShapesDataset(length=length, image_size=(200, 300), max_objects=8)
    samples = []
    for info in map(dataset.get_data_info, range(length)):
        chosen = [i for i in info['instances'] if rng.random() < 0.8]
        boxes = np.array([i['bbox'] for i in chosen]).reshape(-1, 4)
        shift = np.round(rng.normal(0, jitter, (len(chosen), 2))).astype(int)
        masks = np.array([np.roll(rle.decode(i['mask']), s[::-1], (0, 1)) for i, s in zip(chosen, shift)])
        points = np.array([i['keypoints'] for i in chosen]).reshape(-1, 6, 3)[..., :2] + shift[:, None]
        labels = [i['bbox_label'] if rng.random() < 0.9 else rng.integers(5) for i in chosen]
        prediction = predicted(
            (boxes + np.tile(shift, 2)).tolist(),
            rng.random(len(chosen)).tolist(),
            labels,
            masks=torch.from_numpy(masks.reshape(-1, 200, 300)).bool(),
            keypoints=torch.from_numpy(points),
            keypoint_scores=torch.ones(len(chosen), 6),
        )
        samples.append(sample(info['img_id'], info['instances'], prediction))
    return dataset, samples


def reference(samples, metric, names):
    """What pycocotools gives for the same: mAP, mAP_50, mAP_75, AR of the last number of detections."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, found = [], []
    for s in samples:
        for i in s['instances']:
            (x1, y1, x2, y2), points = i['bbox'], i['keypoints']
            row = {'image_id': s['img_id'], 'category_id': i['bbox_label'], 'bbox': [x1, y1, x2 - x1, y2 - y1]}
            row |= {'area': i['area'], 'segmentation': i['mask'], 'iscrowd': 0, 'id': len(truth) + 1}
            truth.append(row | {'keypoints': points, 'num_keypoints': sum(v > 0 for v in points[2::3])})
        p = s['pred_instances']
        for k in range(len(p['scores'])):
            row = {'image_id': s['img_id'], 'category_id': p['labels'][k].item(), 'score': p['scores'][k].item()}
            if metric == 'bbox':
                x1, y1, x2, y2 = p['bboxes'][k].tolist()
                row['bbox'] = [x1, y1, x2 - x1, y2 - y1]
            elif metric == 'segm':
                row['segmentation'] = rle.encode(np.asfortranarray(p['masks'][k].numpy().astype(np.uint8)))
            else:
                row['keypoints'] = [v for x, y in p['keypoints'][k].tolist() for v in (x, y, 1)]
            found.append(row)
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO()
        api.dataset = {
            'images': [{'id': s['img_id'], 'height': SIZE[0], 'width': SIZE[1]} for s in samples],
            'categories': [{'id': i, 'name': name} for i, name in enumerate(names)],
            'annotations': truth,
        }
        api.createIndex()
        result = COCOeval(api, api.loadRes(found), metric)
        if metric == 'keypoints':
            result.params.kpt_oks_sigmas = np.full(6, 0.05)
        result.evaluate(), result.accumulate(), result.summarize()
    return result.stats


@pytest.mark.parametrize('metric', ['bbox', 'segm', 'keypoints'])
@pytest.mark.parametrize('seed', [0, 1])
def test_scores_are_those_of_pycocotools(metric, seed):
    dataset, samples = shapes_samples(seed=seed)
    scores = evaluate(samples, classes=dataset.metainfo['classes'], meta=dataset.metainfo, metric=metric)
    expected = reference(samples, metric, dataset.metainfo['classes'])
    items = ['mAP', 'mAP_50', 'mAP_75'] + (['mAP_m', 'mAP_l'] if metric == 'keypoints' else ['mAP_s', 'mAP_m', 'mAP_l'])
    assert [scores[f'coco/{metric}_{item}'] for item in items] == pytest.approx(expected[: len(items)].tolist())
    assert 0.05 < scores[f'coco/{metric}_mAP'] < 0.95


def annotation_file(tmp_path, samples, names, ids):
    """The truth of ``samples`` as a file whose categories have other ids and another order."""
    content = {
        'images': [{'id': s['img_id'], 'height': SIZE[0], 'width': SIZE[1], 'file_name': ''} for s in samples],
        'categories': [{'id': ids[i], 'name': names[i]} for i in reversed(range(len(names)))],
        'annotations': [],
    }
    for s in samples:
        for i in s['instances']:
            (x1, y1, x2, y2), number = i['bbox'], len(content['annotations'])
            row = {'id': number, 'image_id': s['img_id'], 'category_id': ids[i['bbox_label']], 'iscrowd': 0}
            row |= {'bbox': [x1, y1, x2 - x1, y2 - y1], 'area': i['area'], 'segmentation': i['mask']}
            row |= {'keypoints': i['keypoints'], 'num_keypoints': 4}
            content['annotations'].append(row)
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(content))
    return str(path)


def test_an_annotation_file_gives_the_scores_of_the_samples(tmp_path, messages):
    dataset, samples = shapes_samples()
    names = dataset.metainfo['classes']
    path = annotation_file(tmp_path, samples, names, [40, 7, 22, 3, 15])
    kwargs = {'classes': names, 'meta': dataset.metainfo, 'metric': ['bbox', 'segm', 'keypoints'], 'classwise': True}
    from_file = evaluate([{k: v for k, v in s.items() if k != 'instances'} for s in samples], ann_file=path, **kwargs)
    assert from_file == pytest.approx(evaluate(samples, **kwargs))
    assert messages == []


def test_part_of_the_images_is_scored_as_such(tmp_path, messages):
    dataset, samples = shapes_samples()
    names = dataset.metainfo['classes']
    path = annotation_file(tmp_path, samples, names, [1, 2, 3, 4, 5])
    assert evaluate(samples[:4], classes=names, ann_file=path) == pytest.approx(evaluate(samples[:4], classes=names))
    assert 'scoring the 4 predicted of 12 images' in messages[0]
    with pytest.raises(DataError, match=r'no images with the ids \[99\]'):
        evaluate([sample(99, [], predicted())], classes=names, ann_file=path)


def test_classes_and_annotation_file_have_to_fit(tmp_path, messages):
    dataset, samples = shapes_samples(2)
    names = dataset.metainfo['classes']
    path = annotation_file(tmp_path, samples, names, [1, 2, 3, 4, 5])
    with pytest.raises(DataError, match=r'None of the classes(.|\n)*cat, dog, cow(.|\n)*circle'):
        evaluate([sample(0, [], predicted())], ann_file=path)
    with pytest.raises(ValueError, match='Predicted label 3, but the dataset has only 3 classes'):
        evaluate([sample(0, [], predicted([BOX], [0.5], [3]))])
    # a class that the file lacks is left out, the others keep their labels
    scores = evaluate(samples, classes=(*names, 'moon'), ann_file=path)
    assert scores == pytest.approx(evaluate(samples, classes=names))
    assert "'moon'" in ''.join(messages)


def test_proposals_count_whatever_their_class(tmp_path):
    dataset, samples = shapes_samples(4)
    names = dataset.metainfo['classes']
    path = annotation_file(tmp_path, samples, names, [1, 2, 3, 4, 5])
    for s in samples:
        s['pred_instances']['labels'][:] = 0
    expected = evaluate(samples, classes=names, metric='proposal')
    assert expected['coco/AR@100'] > 0.3
    assert evaluate(samples, classes=('moon', *names), ann_file=path, metric='proposal') == pytest.approx(expected)


def test_missing_annotation_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere'):
        CocoMetric(ann_file=str(tmp_path / 'nowhere.json'))


def test_samples_without_ground_truth_say_how_to_get_it():
    metric = CocoMetric()
    with pytest.raises(ValueError, match=r'meta_keys=\(\.\.\., .instances'):
        metric.process(None, [{'img_id': 0, 'ori_shape': SIZE, 'pred_instances': predicted()}])


def test_metrics_that_need_more_than_boxes():
    samples = [sample(0, [instance(BOX)], predicted([BOX], [0.5], [0]))]
    with pytest.raises(ValueError, match="metric 'segm' needs segmentation, which the predictions do not have"):
        evaluate(samples, metric='segm')
    with pytest.raises(ValueError, match="'keypoints' needs keypoints"):
        evaluate(samples, metric='keypoints')


def test_bad_arguments():
    with pytest.raises(ConfigError, match='metric should be one of bbox, segm'):
        CocoMetric(metric='box')
    with pytest.raises(ValueError, match='set outfile_prefix'):
        CocoMetric(format_only=True)
    with pytest.raises(ConfigError, match=r"metric_items \['mAP_90'\] are not among"):
        CocoMetric(metric_items=['mAP_90'])
    for wrong in (
        {'proposal_nums': ()},
        {'proposal_nums': (0,)},
        {'iou_thrs': 'x'},
        {'iou_thrs': []},
        {'iou_thrs': 50},
    ):
        with pytest.raises(ConfigError, match=f'{next(iter(wrong))}=.* should be'):
            CocoMetric(**wrong)
    with pytest.raises(ConfigError, match=r'max_detections=0 should be a positive whole number'):
        CocoMetric(max_detections=0)
    with pytest.raises(ValueError, match=r"dataset_meta\['classes'\]"):
        metric = CocoMetric()
        metric.process(None, [sample(0, [], predicted())])
        metric.evaluate(1)


def test_thresholds_of_ones_own():
    shifted = (10, 10, 50, 42)
    samples = [sample(0, [instance(BOX)], predicted([shifted], [0.9], [0]))]
    assert evaluate(samples, iou_thrs=[0.7, 0.9])['coco/bbox_mAP'] == 0.5
    assert evaluate(samples, iou_thrs=0.75)['coco/bbox_mAP'] == 1


def test_writing_predictions_only(tmp_path, messages):
    mask = np.zeros((1, *SIZE), bool)
    mask[0, 10:20, 10:30] = True
    prediction = predicted([BOX], [0.5], [1], masks=torch.from_numpy(mask))
    samples = [{'img_id': 3, 'ori_shape': SIZE, 'pred_instances': prediction}]
    prefix = str(tmp_path / 'out')
    assert evaluate(samples, metric=['bbox', 'segm'], format_only=True, outfile_prefix=prefix) == {}
    boxes = json.loads((tmp_path / 'out.bbox.json').read_text())
    assert boxes == [{'image_id': 3, 'category_id': 1, 'bbox': [10, 10, 40, 40], 'score': 0.5}]
    (message,) = messages
    assert 'no ann_file says the ids of categories, so that category_id counts the classes from 0: 0 is' in message
    row = json.loads((tmp_path / 'out.segm.json').read_text())[0]
    assert (rle.decode(row['segmentation']) == mask[0]).all()


def test_polygon_truth_and_encoded_predictions():
    polygon = [[10, 10, 50, 10, 50, 50, 10, 50]]
    encoded = rle.merge(rle.frPyObjects(polygon, *SIZE))
    samples = [sample(0, [instance(BOX, mask=polygon)], predicted([BOX], [0.5], [0], masks=[encoded]))]
    assert evaluate(samples, metric='segm')['coco/segm_mAP'] == 1


def test_keypoints_without_published_falloff_and_with_wrong_ones():
    points = [20, 20, 2, 40, 40, 2]
    prediction = predicted([BOX], [0.5], [0], keypoints=torch.tensor([[[20.0, 20.0], [40.0, 40.0]]]))
    samples = [sample(0, [instance(BOX, keypoints=points)], prediction)]
    assert evaluate(samples, metric='keypoints')['coco/keypoints_mAP'] == 1
    with pytest.raises(ValueError, match='has 3 sigmas for keypoints of 2 points'):
        evaluate(samples, metric='keypoints', meta={'sigmas': (0.1, 0.1, 0.1)})


def test_a_metric_can_be_used_again():
    metric = CocoMetric()
    metric.dataset_meta = {'classes': CLASSES}
    for found, expected in ((predicted([BOX], [0.5], [0]), 1), (predicted([OTHER], [0.5], [0]), 0)):
        metric.process(None, [sample(0, [instance(BOX)], found)])
        assert metric.evaluate(1)['coco/bbox_mAP'] == expected


@pytest.mark.parametrize('wrong', [float('inf'), float('nan')])
@pytest.mark.parametrize('metric', ['bbox', ['bbox', 'proposal', 'bbox']], ids=str)
def test_predictions_that_are_no_numbers_are_left_out_and_told_once(wrong, metric, tmp_path, messages):
    prediction = predicted([(0, 0, wrong, 9), BOX, OTHER], [0.9, 0.8, wrong], [0, 0, 0])
    samples = [sample(0, [instance(BOX)], prediction)]
    scores = evaluate(samples, metric=metric, outfile_prefix=str(tmp_path / 'found'))
    assert scores['coco/bbox_mAP'] == 1
    told = 'CocoMetric: 2 of 3 predictions have infinite numbers or NaN as score or bbox and are left out.'
    assert messages[0] == told and len(messages) == 2  # the other is about the ids in the file
    written = (tmp_path / 'found.bbox.json').read_text()
    assert [row['bbox'] for row in json.loads(written)] == [[10, 10, 40, 40]]


def test_masks_and_boxes_are_left_out_each_for_its_own_numbers(tmp_path, messages):
    masks = np.zeros((2, *SIZE), bool)
    masks[0, 10:50, 10:50] = True
    masks[1, 100:160, 100:140] = True
    found = predicted([(0, 0, float('nan'), 9), OTHER], [0.9, 0.8], [0, 0], masks=masks)
    found['mask_scores'] = torch.tensor([0.9, float('inf')])
    polygons = [[10, 10, 50, 10, 50, 50, 10, 50]], [[100, 100, 140, 100, 140, 160, 100, 160]]
    truth = [instance(BOX, mask=polygons[0]), instance(OTHER, mask=polygons[1])]
    prefix = str(tmp_path / 'found')
    evaluate([sample(0, truth, found)], metric=['bbox', 'segm'], outfile_prefix=prefix)
    assert [message.split(' as score or ')[1] for message in messages[:2]] == [
        'bbox and are left out.',
        'segmentation and are left out.',
    ]
    boxes = json.loads((tmp_path / 'found.bbox.json').read_text())
    assert [row['bbox'] for row in boxes] == [[100, 100, 40, 60]]
    assert len(json.loads((tmp_path / 'found.segm.json').read_text())) == 1


def test_many_classes_are_evaluated_in_groups_with_equal_numbers(monkeypatch):
    dataset, samples = shapes_samples()
    arguments = dict(classes=dataset.metainfo['classes'], classwise=True, metric=['bbox', 'segm', 'proposal'])
    together = evaluate(samples, **arguments)
    monkeypatch.setattr('mmdetlike.evaluation.functional.coco_eval.MAX_PAIRS', 1)
    monkeypatch.setattr('mmdetlike.evaluation.functional.coco_eval.GROUP', 2)
    assert evaluate(samples, **arguments) == pytest.approx(together, abs=1e-12)
