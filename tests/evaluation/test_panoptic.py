"""Panoptic quality on cases computed by hand, and the metric around it."""

import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.datasets.errors import DataError
from mmdetlike.evaluation import CocoPanopticMetric
from mmdetlike.evaluation.functional import PanopticCounts, count_segments, panoptic_quality
from mmdetlike.structures.panoptic import colors_to_ids, ids_to_colors

VOID = 0


def row(*runs):
    """A map (1, w) of runs (segment, length)."""
    return np.concatenate([np.full(length, number) for number, length in runs])[None]


def counts(predicted, labels, truth, truth_labels, crowd=(), num_classes=3):
    found = count_segments(predicted, labels, truth, truth_labels, num_classes, crowd)
    return found.iou.tolist(), found.tp.tolist(), found.fp.tolist(), found.fn.tolist()


def test_equal_maps():
    truth = row((1, 4), (2, 6))
    assert counts(truth, {1: 0, 2: 2}, truth, {1: 0, 2: 2}) == ([1, 0, 1], [1, 0, 1], [0, 0, 0], [0, 0, 0])


def test_iou_above_one_half_matches_and_one_half_does_not():
    truth = row((1, 6), (VOID, 0), (2, 4))
    # 5 of 6 + 0: IoU 5/6; 4 of 5: IoU 4/5
    assert counts(row((7, 5), (8, 5)), {7: 0, 8: 1}, truth, {1: 0, 2: 1})[0] == pytest.approx([5 / 6, 4 / 5, 0])
    half = counts(row((7, 4), (8, 4)), {7: 0, 8: 0}, row((1, 8)), {1: 0})
    assert half == ([0, 0, 0], [0, 0, 0], [2, 0, 0], [1, 0, 0])


def test_another_class_is_wrong_and_missed():
    same = row((1, 5))
    assert counts(same, {1: 1}, same, {1: 0}) == ([0, 0, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0])


def test_pixels_without_annotation_leave_the_union():
    # 4 shared, 2 more of the prediction where nothing is annotated: IoU 4/4 instead of 4/6
    found = counts(row((7, 6), (9, 4)), {7: 0}, row((1, 4), (VOID, 6)), {1: 0})
    assert found == ([1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0])


def test_a_segment_mostly_on_nothing_is_excused():
    truth = row((1, 10), (VOID, 5))
    mostly = row((VOID, 8), (7, 7))  # 2 on segment 1, 5 on nothing
    assert counts(mostly, {7: 1}, truth, {1: 0}) == ([0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0])
    half = row((VOID, 5), (7, 10))  # 5 and 5: not more than half
    assert counts(half, {7: 1}, truth, {1: 0})[2] == [0, 1, 0]


def test_crowds_neither_match_nor_miss_and_excuse_their_class_only():
    truth = row((1, 10))
    assert counts(row((7, 10)), {7: 0}, truth, {1: 0}, crowd=[1]) == ([0, 0, 0],) + ([0, 0, 0],) * 3
    assert counts(row((7, 10)), {7: 1}, truth, {1: 0}, crowd=[1])[2] == [0, 1, 0]
    assert counts(row((9, 10)), {}, truth, {1: 0}, crowd=[1])[3] == [0, 0, 0]


def test_quality_of_a_class():
    # IoU 0.8 and 0.6 matched, one wrong, one missed: PQ 1.4 / 3, SQ 0.7, RQ 2 / 3
    found = PanopticCounts(*(np.array([v, 0]) for v in (1.4, 2, 1, 1)))
    quality = panoptic_quality(found)
    assert quality['pq'][0] == pytest.approx(1.4 / 3)
    assert quality['sq'][0] == pytest.approx(0.7)
    assert quality['rq'][0] == pytest.approx(2 / 3)
    assert all(np.isnan(values[1]) for values in quality.values())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_counts_are_those_of_a_loop_over_pairs(seed):
    random = np.random.default_rng(seed)
    predicted, truth = (random.integers(0, 5, (4, 4)).repeat(3, 0).repeat(3, 1) for _ in range(2))
    truth[random.random(truth.shape) < 0.1] = 5
    labels = {n: int(random.integers(2)) for n in range(1, 5)}
    truth_labels = {n: int(random.integers(2)) for n in range(1, 5)}
    iou, tp, fp, fn = np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2)
    void, matched = ~np.isin(truth, list(truth_labels)), set()
    for p, label in labels.items():
        mask = predicted == p
        hits = [t for t in truth_labels if truth_labels[t] == label]
        overlap = {t: (mask & (truth == t)).sum() / max((mask & ~void | (truth == t)).sum(), 1) for t in hits}
        best = max(overlap, key=overlap.get, default=None)
        if best is not None and overlap[best] > 0.5:
            iou[label] += overlap[best]
            tp[label] += 1
            matched.add(best)
        elif mask.any() and (mask & void).sum() <= mask.sum() / 2:
            fp[label] += 1
    for t, label in truth_labels.items():
        fn[label] += t not in matched and (truth == t).any()
    found = count_segments(predicted, labels, truth, truth_labels, 2)
    for ours, expected in zip((found.iou, found.tp, found.fp, found.fn), (iou, tp, fp, fn)):
        np.testing.assert_allclose(ours, expected)


def test_maps_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r'\(1, 3\).*\(1, 4\)'):
        count_segments(row((1, 3)), {1: 0}, row((1, 4)), {1: 0}, 1)


def test_numbers_survive_as_colors():
    ids = np.array([[0, 255, 256], [65536, 70001, (1 << 24) - 1]])
    assert ids_to_colors(ids)[0, 2].tolist() == [0, 1, 0]
    assert (colors_to_ids(ids_to_colors(ids)) == ids).all()
    with pytest.raises(ValueError, match='16777216'):
        ids_to_colors(ids + 1)


META = {'classes': ('cat', 'dog', 'sky'), 'thing_classes': ('cat', 'dog'), 'stuff_classes': ('sky',)}
TRUTH = np.array([[1, 1, 2, 2], [3, 3, 3, 3]])
SEGMENTS = [{'id': 1, 'category': 0}, {'id': 2, 'category': 0}, {'id': 3, 'category': 2}]


def sample(prediction, **extra):
    return {
        'img_id': 4,
        'img_path': 'a/four.jpg',
        'pred_panoptic_seg': {'sem_seg': torch.tensor(prediction)[None]},
        **extra,
    }


def evaluate(samples, **kwargs):
    metric = CocoPanopticMetric(**kwargs)
    metric.dataset_meta = META
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_metric_on_samples():
    # both cats found, as one number each; of the sky 3 of 4 pixels
    prediction = [[1000, 1000, 2000, 2000], [2, 2, 2, 3]]
    scores = evaluate([sample(prediction, panoptic_map=TRUTH, segments_info=SEGMENTS)], classwise=True)
    assert scores['coco_panoptic/PQ'] == pytest.approx((100 + 75) / 2)
    assert scores['coco_panoptic/SQ'] == pytest.approx((100 + 75) / 2)
    assert scores['coco_panoptic/RQ'] == 100
    assert scores['coco_panoptic/PQ_th'] == 100
    assert scores['coco_panoptic/PQ_st'] == pytest.approx(75)
    assert scores['coco_panoptic/sky_PQ'] == pytest.approx(75)
    assert scores['coco_panoptic/dog_PQ'] == -1


@pytest.fixture
def annotations(tmp_path):
    cv2.imwrite(str(tmp_path / 'four.png'), ids_to_colors(TRUTH * 300)[..., ::-1])
    categories = [{'id': 7, 'name': 'sky', 'isthing': 0}, {'id': 2, 'name': 'cat', 'isthing': 1}]
    categories.append({'id': 5, 'name': 'dog', 'isthing': 1})
    segments = [{'id': 300 * s['id'], 'category_id': {0: 2, 2: 7}[s['category']], 'iscrowd': 0} for s in SEGMENTS]
    annotation = {'image_id': 4, 'file_name': 'four.png', 'segments_info': segments}
    content = {'images': [{'id': 4}], 'annotations': [annotation], 'categories': categories}
    (tmp_path / 'panoptic.json').write_text(json.dumps(content))
    return {'ann_file': str(tmp_path / 'panoptic.json'), 'seg_prefix': str(tmp_path)}


def test_metric_on_files_and_what_it_writes(annotations, tmp_path):
    prediction = [[1000, 1000, 2000, 2000], [2, 2, 2, 3]]
    scores = evaluate([sample(prediction)], outfile_prefix=str(tmp_path / 'out'), **annotations)
    assert scores['coco_panoptic/PQ'] == pytest.approx((100 + 75) / 2)
    written = json.loads((tmp_path / 'out.panoptic.json').read_text())['annotations'][0]
    assert [(s['category_id'], s['area']) for s in written['segments_info']] == [(7, 3), (2, 2), (2, 2)]
    ids = colors_to_ids(cv2.imread(str(tmp_path / 'out.panoptic' / written['file_name']))[..., ::-1])
    assert ids.tolist() == [[2, 2, 3, 3], [1, 1, 1, 0]]


def test_what_is_missing_is_said(annotations):
    with pytest.raises(ValueError, match='seg_prefix'):
        CocoPanopticMetric(ann_file=annotations['ann_file'])
    with pytest.raises(ValueError, match='segments_info'):
        evaluate([sample(TRUTH)])
    with pytest.raises(ValueError, match='pred_panoptic_seg'):
        evaluate([{'img_id': 4}])
    with pytest.raises(ValueError, match='id 5'):
        evaluate([sample([[1]]) | {'img_id': 5}], **annotations)
    with pytest.raises(ValueError, match='class 9, but the dataset has only 3'):
        evaluate([sample([[9]])], **annotations)
    with pytest.raises(ValueError, match='outfile_prefix'):
        CocoPanopticMetric(format_only=True)


def rewrite(annotations, change):
    path = annotations['ann_file']
    with open(path) as file:
        content = json.load(file)
    change(content)
    with open(path, 'w') as file:
        json.dump(content, file)


def test_numbers_as_text_are_read(annotations):
    prediction = [[1000, 1000, 2000, 2000], [2, 2, 2, 3]]
    expected = evaluate([sample(prediction)], **annotations)

    def as_text(content):
        row = content['annotations'][0]
        row['image_id'] = '4'
        for segment in row['segments_info']:
            segment.update(id=str(segment['id']), category_id=str(segment['category_id']), iscrowd=None)

    rewrite(annotations, as_text)
    assert evaluate([sample(prediction)], **annotations) == expected


@pytest.mark.parametrize(
    ('change', 'told'),
    [
        (lambda row: row.update(segments_info=5), r'annotation of image 4 has segments_info=5; expected a list'),
        (lambda row: row.update(segments_info=[5]), 'expected a segment to be a JSON object, got 5'),
        (
            lambda row: row['segments_info'][0].update(id='x'),
            "segment 'x' of image 4 has id='x'; expected a whole number",
        ),
        (lambda row: row['segments_info'][0].update(iscrowd='no'), "has iscrowd='no'; expected 0 or 1"),
        (lambda row: row.pop('file_name'), 'annotation of image 4 has no file_name'),
        (lambda row: row.pop('image_id'), "a panoptic annotation lacks 'image_id'"),
    ],
)
def test_fields_of_another_kind_are_one_sentence(annotations, change, told):
    rewrite(annotations, lambda content: change(content['annotations'][0]))
    with pytest.raises(DataError, match=rf'panoptic\.json: .*{told}'):
        CocoPanopticMetric(**annotations)


def test_a_file_without_annotations_is_not_scored(annotations, tmp_path):
    rewrite(annotations, lambda content: content.pop('annotations'))
    assert evaluate([sample([[1000]])], outfile_prefix=str(tmp_path / 'out'), **annotations) == {}
    assert (tmp_path / 'out.panoptic.json').exists()


def test_pictures_of_one_name_get_a_png_each(tmp_path):
    samples = [sample([[1000]], img_path=f'{cam}/1.jpg') | {'img_id': i} for i, cam in enumerate('ab')]
    assert evaluate(samples, format_only=True, outfile_prefix=str(tmp_path / 'out')) == {}
    assert len(list((tmp_path / 'out.panoptic').iterdir())) == 2
