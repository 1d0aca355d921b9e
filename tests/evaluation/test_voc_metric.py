import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.errors import ConfigError
from mmdetlike.evaluation import VOCMetric
from mmdetlike.evaluation.functional import average_precision, eval_map, eval_recalls
from mmdetlike.evaluation.functional.overlaps import box_iou
from mmdetlike.structures import HorizontalBoxes

A, B, C = (0, 0, 10, 10), (20, 20, 40, 40), (50, 50, 60, 80)


def truth(boxes=(), labels=None, ignore=None):
    labels = [0] * len(boxes) if labels is None else labels
    ignore = [False] * len(boxes) if ignore is None else ignore
    return {
        'bboxes': np.array(boxes, dtype=float).reshape(-1, 4),
        'labels': np.array(labels, dtype=int),
        'ignore': np.array(ignore, dtype=bool),
    }


def found(boxes=(), scores=(), labels=None):
    labels = [0] * len(boxes) if labels is None else labels
    return {
        'bboxes': np.array(boxes, dtype=float).reshape(-1, 4),
        'scores': np.array(scores, dtype=float),
        'labels': np.array(labels, dtype=int),
    }


def test_average_precision_by_hand():
    recalls, precisions = np.array([0.25, 0.5, 0.5, 0.75]), np.array([1, 1, 2 / 3, 0.75])
    assert average_precision(recalls, precisions) == pytest.approx(0.5 + 0.25 * 0.75)
    # recall 0, 0.1, ..., 0.5: precision 1; 0.6, 0.7: 0.75; then nothing
    assert average_precision(recalls, precisions, '11points') == pytest.approx((6 + 2 * 0.75) / 11)
    assert average_precision(np.zeros(0), np.zeros(0)) == 0
    assert average_precision(np.ones(1), np.ones(1), '11points') == 1
    with pytest.raises(ValueError, match="'area' or '11points', got 'x'"):
        average_precision(recalls, precisions, 'x')


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 5))
def test_average_precision_is_the_area_under_the_best_precision_to_come(hits, missed):
    total = sum(hits) + missed or 1
    right = np.cumsum(hits)
    recalls, precisions = right / total, right / np.arange(1, len(hits) + 1)
    area = sum(max(precisions[k:]) / total for k, hit in enumerate(hits) if hit)
    assert average_precision(recalls, precisions) == pytest.approx(area)


def test_overlaps():
    iou = box_iou(np.array([A, B], float), np.array([A, (5, 0, 15, 10), (3, 3, 3, 3)], float))
    assert iou == pytest.approx(np.array([[1, 1 / 3, 0], [0, 0, 0]]))
    assert box_iou(np.array([(0, 0, 9, 9.0)]), np.array([(0, 0, 9, 4.0)]), extra=1)[0, 0] == 0.5
    assert box_iou(np.zeros((0, 4)), np.zeros((3, 4))).shape == (0, 3)


def test_a_second_box_on_an_object_is_wrong():
    mean, classes = eval_map([found([A, A, B], [0.9, 0.8, 0.7])], [truth([A, B])], 1)
    assert mean == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert classes == [{'num_gts': 2, 'num_dets': 3, 'recall': 1.0, 'ap': mean}]


def test_difficult_objects_do_not_count():
    mean, classes = eval_map([found([B, A], [0.9, 0.8])], [truth([A, B], ignore=[False, True])], 1)
    assert mean == 1
    assert classes[0]['num_gts'] == classes[0]['num_dets'] == 1


def test_scores_are_ranked_over_all_images():
    predictions = [found([A], [0.5]), found([C], [0.9]), found([B], [0.7])]
    mean, _ = eval_map(predictions, [truth([A]), truth([B]), truth([B])], 1)
    assert mean == pytest.approx(1 / 3 * 2 / 3 + 1 / 3 * 2 / 3)  # wrong, right, right: 0, 1/2, 2/3


def test_classes_without_objects_are_left_out_of_the_mean():
    predictions = [found([A, B], [0.9, 0.8], [0, 2])]
    mean, classes = eval_map(predictions, [truth([A, C], [0, 1])], 3)
    assert [c['ap'] for c in classes] == [1, 0, 0]
    assert mean == 0.5
    assert eval_map([found()], [truth()], 2)[0] == 0


def test_a_range_of_areas():
    predictions, truths = [found([A, B, C], [0.9, 0.8, 0.7])], [truth([A, B])]
    assert eval_map(predictions, truths, 1, area_range=(0, 300))[0] == 1  # C, of area 300, and B don't count
    assert eval_map(predictions, truths, 1, area_range=(300, 1000))[0] == 1
    assert eval_map(predictions, truths, 1, area_range=(300, 1000))[1][0]['num_dets'] == 2


def test_recall_matches_one_to_one():
    gts, proposals = [np.array([A, B], float)], [np.array([A, A, B], float)]
    assert eval_recalls(gts, proposals, [1, 2, 3], [0.5]).tolist() == [[0.5], [0.5], [1.0]]
    half = [np.array([(0, 0, 10, 6)], float)]
    assert eval_recalls([np.array([A], float)], half, [10], [0.5, 0.6, 0.7]).tolist() == [[1, 1, 0]]
    assert eval_recalls([np.zeros((0, 4))], proposals, [10], [0.5]).tolist() == [[0]]
    with pytest.raises(ValueError, match='ground truth of 1 images and proposals of 2'):
        eval_recalls(gts, proposals * 2, [1], [0.5])


def samples():
    def one(img_id, boxes, flags, predicted, scores):
        instances = [{'bbox': list(b), 'bbox_label': 1, 'ignore_flag': f} for b, f in zip(boxes, flags)]
        prediction = {
            'bboxes': torch.tensor(predicted, dtype=torch.float32).reshape(-1, 4),
            'scores': torch.tensor(scores),
            'labels': torch.ones(len(scores), dtype=torch.long),
        }
        return {'img_id': img_id, 'ori_shape': (100, 100), 'instances': instances, 'pred_instances': prediction}

    return [one(0, [A, C], [0, 1], [A, C], [0.9, 0.8]), one(1, [B], [0], [(20, 20, 40, 35), A], [0.7, 0.6])]


def evaluate(**kwargs):
    metric = VOCMetric(**kwargs)
    metric.dataset_meta = {'classes': ('cat', 'dog')}
    metric.process(None, samples())
    return metric.evaluate(2)


def test_the_metric_by_hand():
    assert evaluate(eval_mode='area') == {'pascal_voc/mAP': 1, 'pascal_voc/AP50': 1}
    scores = evaluate(eval_mode='area', iou_thrs=[0.5, 0.8])
    assert scores == {'pascal_voc/mAP': 0.75, 'pascal_voc/AP50': 1, 'pascal_voc/AP80': 0.5}
    assert evaluate(iou_thrs=0.8)['pascal_voc/mAP'] == pytest.approx(6 / 11)
    scores = evaluate(eval_mode='area', iou_thrs=0.8, scale_ranges=[(0, 15), (15, 30)])
    assert (scores['pascal_voc/AP80_0-15'], scores['pascal_voc/AP80_15-30']) == (1, 0)


def test_objects_that_the_pipeline_has_loaded_are_the_truth_where_no_instances_are_listed():
    given = samples()
    for sample in given:
        flags = torch.tensor([instance['ignore_flag'] for instance in sample['instances']], dtype=torch.bool)
        boxes = torch.tensor([instance['bbox'] for instance in sample.pop('instances')], dtype=torch.float32)
        for name, chosen in (('gt_instances', ~flags), ('ignored_instances', flags)):
            sample[name] = {'bboxes': HorizontalBoxes(boxes[chosen]), 'labels': torch.ones(chosen.sum()).long()}
    metric = VOCMetric(eval_mode='area', iou_thrs=[0.5, 0.8])
    metric.dataset_meta = {'classes': ('cat', 'dog')}
    metric.process(None, given)
    assert metric.evaluate(2) == evaluate(eval_mode='area', iou_thrs=[0.5, 0.8])
    del given[0]['gt_instances']['bboxes']
    with pytest.raises(ConfigError, match='list it in PackDetInputs'):
        metric.process(None, given)


def test_recalls():
    scores = evaluate(metric='recall', iou_thrs=[0.5, 0.8], proposal_nums=(1, 100))
    assert scores['pascal_voc/recall@1@0.5'] == 1
    assert scores['pascal_voc/recall@100@0.8'] == 0.5
    assert scores['pascal_voc/AR@100'] == 0.75


def test_bad_arguments():
    with pytest.raises(ConfigError, match="'mAP' or 'recall', got 'bbox'"):
        VOCMetric(metric='bbox')
    with pytest.raises(ValueError, match="'area' or '11points', got '12points'"):
        VOCMetric(eval_mode='12points')
