"""An annotation file means the same to the dataset that trains on it and to the metric that scores against it."""

import json
import tracemalloc

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmdetlike.datasets import CocoDataset, errors
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.transforms import LoadAnnotations
from mmdetlike.evaluation import CocoMetric
from tests.structures.test_segmentation import segmentations

HEIGHT, WIDTH = 64, 96
CLASSES = ('cat', 'dog')
IMAGES = [{'id': i, 'file_name': f'{i}.png', 'width': WIDTH, 'height': HEIGHT} for i in (1, 2)]
CATEGORIES = [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}]
OBJECT = {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [8, 8, 40, 40], 'area': 1600, 'iscrowd': 0}
SQUARE = [[8, 8, 48, 8, 48, 48, 8, 48]]


@pytest.fixture
def messages(monkeypatch):
    logged = []
    monkeypatch.setattr(errors, 'print_log', lambda message, **kwargs: logged.append(message))
    return logged


class File:
    """An annotation file beside two pictures."""

    def __init__(self, folder):
        self.folder = folder
        self.path = str(folder / 'a.json')
        for image in IMAGES:
            cv2.imwrite(str(folder / image['file_name']), np.zeros((HEIGHT, WIDTH, 3), np.uint8))

    def write(self, objects=(OBJECT,), images=IMAGES, categories=CATEGORIES, **others):
        content = {'images': images, 'categories': categories, 'annotations': list(objects), **others}
        (self.folder / 'a.json').write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
        return self

    def dataset(self):
        meta = {'classes': CLASSES}
        return CocoDataset(
            ann_file='a.json', data_root=str(self.folder), metainfo=meta, pipeline=[], serialize_data=False
        )

    def instances(self):
        dataset = self.dataset()
        return {info['img_id']: info['instances'] for info in map(dataset.get_data_info, range(len(dataset)))}

    def score(self, found, masks=None, **kwargs):
        """Scores of boxes, by image: (box xyxy, label) each."""
        metric = CocoMetric(ann_file=self.path, **kwargs)
        metric.dataset_meta = {'classes': CLASSES}
        for img_id, rows in found.items():
            prediction = {
                'bboxes': torch.tensor([box for box, _ in rows], dtype=torch.float64).reshape(-1, 4),
                'labels': torch.tensor([label for _, label in rows], dtype=torch.long),
                'scores': torch.full((len(rows),), 0.9),
            }
            if masks is not None:
                prediction['masks'] = masks[img_id]
            metric.process(None, [{'img_id': img_id, 'ori_shape': (HEIGHT, WIDTH), 'pred_instances': prediction}])
        return metric.evaluate(len(found))

    def perfect(self):
        """The mAP of predicting what the dataset trains on."""
        found = {
            img_id: [(i['bbox'], i['bbox_label']) for i in instances if not i['ignore_flag']]
            for img_id, instances in self.instances().items()
        }
        return self.score(found)['coco/bbox_mAP']


@pytest.fixture
def file(tmp_path):
    return File(tmp_path)


def without(key):
    return {k: v for k, v in OBJECT.items() if k != key}


@pytest.mark.parametrize('area', [None, 'x', 0, -1, '1600', [], float('nan')])
def test_an_unusable_area_is_that_of_the_box(file, area):
    scores = file.write([OBJECT | {'area': area}]).score({1: [([8, 8, 48, 48], 0)]})
    assert (scores['coco/bbox_mAP_s'], scores['coco/bbox_mAP_m']) == (-1, 1)


def test_an_absent_area_is_that_of_the_mask(file):
    row = without('area') | {'segmentation': [[8, 8, 12, 8, 12, 12, 8, 12]]}
    scores = file.write([row]).score({1: [([8, 8, 48, 48], 0)]})
    assert (scores['coco/bbox_mAP_s'], scores['coco/bbox_mAP_m']) == (1, -1)


NO_OBJECT = [{'bbox': None}, {'bbox': []}, {'bbox': [0, 0, 0, 0]}, {'bbox': [], 'category_id': None}]


@pytest.mark.parametrize('fields', NO_OBJECT)
def test_every_spelling_of_no_object(file, messages, fields):
    file.write([OBJECT, OBJECT | {'id': 7, 'image_id': 2} | fields])
    assert [len(instances) for instances in file.instances().values()] == [1, 0]
    assert file.perfect() == 1
    assert 'skipped 1 annotations (1 without a box). For example: annotation 7 of image 2' in messages[0]


SKIPPED = [[200, 8, 10, 10], [8, 8, 0, 5], [float('nan'), 1, 2, 3], [1e30, 1, 5, 5], [8, 8, -5, 5], [8, 8, 0.2, 9]]


@pytest.mark.parametrize('box', SKIPPED)
def test_what_the_loader_skips_is_not_scored(file, messages, box):
    assert file.write([OBJECT, OBJECT | {'id': 2, 'image_id': 2, 'bbox': box}]).perfect() == 1
    assert any('CocoMetric' in message and 'annotation 2 of image 2' in message for message in messages)


def test_boxes_that_reach_far_out_are_scored_as_they_are_learned(file):
    assert file.write([OBJECT | {'bbox': [60, 8, 100, 40]}]).perfect() == 1


@pytest.mark.parametrize(
    ('fields', 'ignored'),
    [
        ({'iscrowd': '0'}, 0),
        ({'iscrowd': 'false'}, 0),
        ({'iscrowd': None}, 0),
        ({'iscrowd': 0.0}, 0),
        ({'iscrowd': '1'}, 1),
        ({'iscrowd': True}, 1),
        ({'ignore': 1}, 1),
        ({'ignore': '0'}, 0),
    ],
)
def test_flags_in_every_spelling(file, fields, ignored):
    file.write([OBJECT | fields])
    assert [i['ignore_flag'] for i in file.instances()[1]] == [ignored]
    assert file.score({1: [([8, 8, 48, 48], 0)]})['coco/bbox_mAP'] == (-1 if ignored else 1)


@pytest.mark.parametrize(
    'fields', [{'image_id': '1'}, {'image_id': 1.0}, {'category_id': '1'}, {'bbox': ['8', 8, 40, 40.0]}]
)
def test_numbers_as_text(file, fields):
    assert len(file.write([OBJECT | fields]).instances()[1]) == 1
    assert file.perfect() == 1


def test_text_for_ids(file):
    images = [image | {'id': f'cam/{image["id"]}'} for image in IMAGES]
    file.write([OBJECT | {'image_id': 'cam/1', 'category_id': 'k'}], images, [{'id': 'k', 'name': 'cat'}])
    assert list(file.instances()) == ['cam/1', 'cam/2']
    assert file.perfect() == 1


@pytest.mark.parametrize('category', [99, 'cat', None])
def test_unknown_categories_are_counted_in_both(file, messages, category):
    assert file.write([OBJECT, OBJECT | {'id': 2, 'category_id': category}]).perfect() == 1
    assert len([m for m in messages if f'annotation 2 of image 1, category_id={category!r}' in m]) == 2


WRONG = [
    ('images', 'id', [1], r'image \[1\] has id=\[1\]; expected a whole number or text'),
    ('images', 'id', None, 'image None has id=None; expected'),
    ('images', 'id', True, 'image True has id=True; expected'),
    ('images', 'id', 1.5, 'image 1.5 has id=1.5; expected'),
    ('images', 'width', -1, 'image 1 has width=-1; expected a whole number of pixels'),
    ('images', 'width', [96], r'image 1 has width=\[96\]; expected a whole number of pixels'),
    ('images', 'width', 95.5, 'image 1 has width=95.5; expected a whole number of pixels'),
    ('images', 'file_name', 5, 'image 1 has file_name=5; expected the name of a file'),
    ('categories', 'id', {}, r'category \{\} has id=\{\}; expected a whole number or text'),
    ('categories', 'name', None, 'category 1 has name=None; expected text'),
    ('categories', 'name', ['cat'], r"category 1 has name=\['cat'\]; expected text"),
    ('annotations', 'image_id', {}, r'annotation 1 of image \{\} has image_id=\{\}; expected a whole number or text'),
    ('annotations', 'category_id', [1], r'annotation 1 of image 1 has category_id=\[1\]; expected'),
    ('annotations', 'bbox', [[8, 8, 40, 40]], r'has bbox=\[\[8, 8, 40, 40\]\]; expected four numbers'),
    ('annotations', 'bbox', '8,8,40,40', "has bbox='8,8,40,40'; expected four numbers"),
    ('annotations', 'iscrowd', 'no', "has iscrowd='no'; expected 0 or 1"),
    ('annotations', 'iscrowd', 2, 'has iscrowd=2; expected 0 or 1'),
    ('annotations', 'ignore', [], r'has ignore=\[\]; expected 0 or 1'),
    ('annotations', 'keypoints', [1, 2], r'has keypoints=\[1, 2\]; expected a flat list of x, y, visibility'),
    ('annotations', 'keypoints', 'x', "has keypoints='x'; expected a flat list"),
]


@pytest.mark.parametrize(('table', 'key', 'value', 'told'), WRONG)
def test_other_forms_are_one_sentence_in_both(file, table, key, value, told):
    rows = {'images': IMAGES, 'categories': CATEGORIES, 'annotations': [OBJECT]}
    rows[table] = [rows[table][0] | {key: value}, *rows[table][1:]]
    file.write(rows['annotations'], rows['images'], rows['categories'])
    for read in (file.dataset, lambda: CocoMetric(ann_file=file.path)):
        with pytest.raises(DataError, match=rf'a\.json: .*{told}'):
            read()


@pytest.mark.parametrize(
    ('table', 'what'), [('images', 'an image'), ('categories', 'a category'), ('objects', 'an ann')]
)
def test_records_that_are_no_objects(file, table, what):
    file.write(**{table: [5]})
    for read in (file.dataset, lambda: CocoMetric(ann_file=file.path)):
        with pytest.raises(DataError, match=rf'a\.json: expected {what}.* to be a JSON object, got 5'):
            read()


def test_categories_that_contradict_each_other(file):
    file.write(categories=[{'id': 1, 'name': 'cat'}, {'id': 3, 'name': 'cat'}])
    for read in (file.dataset, lambda: file.score({1: []})):
        with pytest.raises(DataError, match=r"\['cat'\] more than once: 'cat' is the name of the ids 1 and 3"):
            read()
    file.write(categories=[{'id': 1, 'name': 'cat'}, {'id': 1, 'name': 'dog'}])
    for read in (file.dataset, lambda: CocoMetric(ann_file=file.path)):
        with pytest.raises(DataError, match="two categories have the id 1: 'cat' and 'dog'"):
            read()


@pytest.mark.parametrize('size', [{}, {'width': None, 'height': None}, {'width': 0, 'height': 64}])
def test_an_unknown_size_is_the_pictures(file, size):
    images = [{'id': 1, 'file_name': '1.png', **size}]
    outside = OBJECT | {'id': 2, 'bbox': [200, 8, 10, 10]}
    info = file.write([OBJECT, outside], images).dataset().get_data_info(0)
    assert (info['width'], info['height'], len(info['instances'])) == (WIDTH, HEIGHT, 1)
    assert file.perfect() == 1  # the metric takes the size of the prediction
    (file.folder / '1.png').unlink()
    with pytest.raises(DataError, match=r"an image lacks \['width.*image 1, .*1\.png: there is no such file"):
        file.dataset()


def test_masks_that_cannot_be_used_are_no_truth(file, messages):
    mask = np.zeros((1, HEIGHT, WIDTH), bool)
    mask[0, 8:48, 8:48] = True
    good = OBJECT | {'segmentation': SQUARE}
    bad = [OBJECT | {'id': 2 + i, 'image_id': 2, 'segmentation': s} for i, s in enumerate(([[8, 8, 48, 48]], {}, None))]
    file.write([good, *bad])
    none = np.zeros((0, HEIGHT, WIDTH), bool)
    found = {1: [([8, 8, 48, 48], 0)], 2: []}
    assert file.score(found, {1: mask, 2: none}, metric='segm')['coco/segm_mAP'] == 1
    assert '2 annotations' in messages[0] and 'annotation 2 of image 2 segmentation [[8, 8, 48, 48]]' in messages[0]
    file.write(bad)
    with pytest.raises(DataError, match=r'a\.json: the metric needs segmentation, which none of its 3 annotations has'):
        CocoMetric(ann_file=file.path, metric='segm')


@pytest.mark.parametrize(
    'mask', [{'size': [HEIGHT, WIDTH], 'counts': [5]}, {'counts': [5]}, {'size': [64]}, {'size': [64], 'counts': 'x'}]
)
def test_predicted_masks_that_are_none_are_refused(file, mask):
    file.write([OBJECT | {'segmentation': SQUARE}])
    with pytest.raises(DataError, match='Predicted mask 0 of an image is unusable: '):
        file.score({1: [([8, 8, 48, 48], 0)]}, {1: [mask]}, metric='segm')


def long_polygon(count):
    angles = np.linspace(0, 2 * np.pi, count + 1)[:-1]
    return np.stack([30 + 20 * np.cos(angles), 30 + 20 * np.sin(angles)], axis=1).ravel().tolist()


def test_long_masks_are_told_as_the_file_has_them(file, messages):
    polygon = [8, *long_polygon(12), 9, 10]
    file.write([OBJECT | {'segmentation': [polygon]}])
    file.instances()
    assert f'annotation 1 of image 1 segmentation [[8.0, {polygon[1]}' in messages[0]
    assert 'polygons with an odd number of coordinates' in messages[0]


@pytest.mark.parametrize('segmentation', [long_polygon(12), [long_polygon(12)], []], ids=['flat', 'list', 'none'])
def test_masks_of_images_without_a_size(file, messages, segmentation):
    images = [{k: v for k, v in image.items() if k not in ('width', 'height')} for image in IMAGES]
    file.write([OBJECT | {'segmentation': segmentation}], images)
    assert file.perfect() == 1
    CocoMetric(ann_file=file.path, metric='bbox')


def test_reading_takes_memory_in_proportion_to_the_file(file):
    rows = [OBJECT | {'id': i, 'segmentation': [long_polygon(60)]} for i in range(1, 500)]
    file.write(rows)
    size = (file.folder / 'a.json').stat().st_size
    tracemalloc.start()
    metric = CocoMetric(ann_file=file.path)
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert metric is not None
    assert most < 3 * size  # 6 times with lists of numbers
    assert kept < size / 5


def test_predicted_masks_of_another_size_are_refused(file):
    file.write([OBJECT | {'segmentation': SQUARE}])
    with pytest.raises(DataError, match=r'Predicted masks are of \(h, w\) = \[96, 64\], but their image of \[64, 96\]'):
        file.score({1: [([8, 8, 48, 48], 0)]}, {1: np.ones((1, WIDTH, HEIGHT), bool)}, metric='segm')


def test_a_file_without_annotations_is_told_at_the_start(file, messages, tmp_path):
    file.write(annotations=None)
    assert file.score({1: [([8, 8, 48, 48], 0)]}, outfile_prefix=str(tmp_path / 'out')) == {}
    assert 'has no list of annotations' in messages[0] and '--out' in messages[0]
    assert json.loads((tmp_path / 'out.bbox.json').read_text())[0]['category_id'] == 1


def crowd(count):
    boxes = [[i % 15 * 6, i // 15 * 6, 5, 5] for i in range(count)]
    objects = [OBJECT | {'id': i, 'bbox': box, 'area': 25} for i, box in enumerate(boxes)]
    return objects, {1: [([x, y, x + w, y + h], 0) for x, y, w, h in boxes]}


def test_more_objects_than_map_looks_at(file, messages):
    objects, found = crowd(150)
    file.write(objects)
    assert file.score(found)['coco/bbox_mAP'] == pytest.approx(67 / 101)  # recall ends at 100 of 150
    assert any('1 images have more than 100 objects, up to 150: max_detections' in m for m in messages)
    assert any('all but the best 100 predictions' in m for m in messages)
    del messages[:]
    assert file.score(found, max_detections=150)['coco/bbox_mAP'] == 1
    assert not any('max_detections' in m for m in messages)


def test_images_of_one_id_are_not_mixed_up(file):
    metric = CocoMetric(ann_file=file.write().path)
    metric.dataset_meta = {'classes': CLASSES}
    nothing = {'bboxes': torch.zeros(0, 4), 'scores': torch.zeros(0), 'labels': torch.zeros(0).long()}
    for folder in ('a', 'b'):
        metric.process(None, [{'img_id': 1, 'img_path': f'{folder}/1.png', 'pred_instances': nothing}])
    with pytest.raises(DataError, match=r'Two images have the id 1: a/1\.png and b/1\.png'):
        metric.evaluate(2)


def test_what_metrics_need_is_missed_with_the_first_sample(file):
    file.write([OBJECT | {'segmentation': SQUARE}])
    metric = CocoMetric(ann_file=file.path, metric='segm')
    metric.dataset_meta = {'classes': CLASSES}
    box = {'bboxes': torch.zeros(1, 4), 'scores': torch.zeros(1), 'labels': torch.zeros(1).long()}
    with pytest.raises(DataError, match="metric 'segm' needs segmentation, which the predictions do not have"):
        metric.process(None, [{'img_id': 1, 'pred_instances': box}])


odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 200),
    st.floats(),
    st.sampled_from([2**40, 2**70, 1e30, '1', '0', 'true', 'cat', '', ' ', '96', 'nan']),
    st.text(max_size=4),
    st.lists(st.one_of(st.integers(-5, 120), st.floats(-5, 120), st.none(), st.text(max_size=2)), max_size=6),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.just(SQUARE),
    st.just({'size': [HEIGHT, WIDTH], 'counts': [520, 40, 24, 40, 5520]}),
)
fields = st.sampled_from(
    [('images', key) for key in ('id', 'file_name', 'width', 'height')]
    + [('categories', key) for key in ('id', 'name')]
    + [(table, None) for table in ('images', 'categories', 'annotations')]  # a record of another kind
    + [('annotations', key) for key in (*OBJECT, 'ignore', 'segmentation', 'keypoints', 'num_keypoints')]
)
ABSENT = object()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(segmentations)
def test_a_mask_is_trained_and_scored_or_neither(tmp_path_factory, value):
    file = File(tmp_path_factory.mktemp('any'))
    file.write([OBJECT | {'segmentation': value}, OBJECT | {'id': 2, 'image_id': 2, 'segmentation': SQUARE}])
    info = file.dataset().get_data_info(0) | {'ori_shape': (HEIGHT, WIDTH), 'img_shape': (HEIGHT, WIDTH)}
    loaded = LoadAnnotations(with_mask=True)(info)
    masks = loaded['gt_masks'].masks
    trained = not loaded['gt_ignore_flags'][0]
    square = np.zeros((1, HEIGHT, WIDTH), bool)
    square[0, 8:48, 8:48] = True
    found = {1: [([8, 8, 48, 48], 0)] * trained, 2: [([8, 8, 48, 48], 0)]}
    scores = file.score(found, {1: masks[:trained].astype(bool), 2: square}, metric='segm')
    assert masks[0].any() == trained
    assert scores['coco/segm_mAP'] == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(fields, st.one_of(st.just(ABSENT), odd_values)), min_size=1, max_size=2))
def test_dataset_and_metric_agree_on_any_file(tmp_path_factory, changes):
    file = File(tmp_path_factory.mktemp('any'))
    rows = {'images': IMAGES, 'categories': CATEGORIES, 'annotations': [OBJECT, OBJECT | {'id': 2, 'image_id': 2}]}
    for (table, key), value in changes:
        if key is None:
            rows[table] = [*rows[table], *([] if value is ABSENT else [value])]
            continue
        first = {k: v for k, v in rows[table][0].items() if k != key} | ({} if value is ABSENT else {key: value})
        rows[table] = [first, *rows[table][1:]]
    file.write(rows['annotations'], rows['images'], rows['categories'])
    try:
        instances = file.instances()
    except DataError as error:
        assert file.path in str(error)
        return
    learned = [i for rows in instances.values() for i in rows if not i['ignore_flag']]
    assert file.perfect() == (1 if learned else -1)
