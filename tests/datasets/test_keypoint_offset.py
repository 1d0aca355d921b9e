"""COCO's keypoints count pixels; in between, coordinates are continuous."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.datasets.transforms import LoadAnnotations, RandomFlip
from mmdetlike.evaluation.metrics import CocoMetric
from mmdetlike.structures import DetDataSample


def loaded(offset):
    objects = [dict(bbox=[0, 0, 9, 9], bbox_label=0, keypoints=[0, 3, 2, 0, 0, 0])]
    results = dict(img=np.zeros((10, 10, 3), np.uint8), img_shape=(10, 10), instances=objects)
    return LoadAnnotations(with_keypoints=True, keypoint_offset=offset)(results)


def test_the_first_pixel_becomes_the_last_in_a_mirror():
    results = RandomFlip(1.0)(loaded(0.5))
    assert results['gt_keypoints'][0].tolist() == [[9.5, 3.5, 2], [0, 0, 0]]
    assert loaded(0.0)['gt_keypoints'][0, 0].tolist() == [0, 3, 2]


@pytest.mark.parametrize('offset', [0.0, 0.5])
def test_predictions_are_written_as_the_file_has_them(offset):
    truth = loaded(offset)['gt_keypoints']
    metric = CocoMetric(metric='keypoints', keypoint_offset=offset)
    metric.dataset_meta = dict(classes=('person',))
    points = torch.from_numpy(truth)
    fields = dict(bboxes=torch.tensor([[0.0, 0, 9, 9]]), scores=torch.ones(1), labels=torch.zeros(1).long())
    sample = DetDataSample(metainfo=dict(img_id=0, ori_shape=(10, 10), instances=[]))
    sample.pred_instances = InstanceData(**fields, keypoints=points)
    metric.process({}, [sample.to_dict()])
    assert metric.results[0][1]['keypoints'][0, 0].tolist() == [0, 3, 2]
    assert points[0, 0].tolist() == [offset, 3 + offset, 2]  # the sample keeps its own
