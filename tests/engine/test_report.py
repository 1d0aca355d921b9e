"""The contact sheet shows ground truth where it is, wherever a pipeline loads it."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.datasets import CocoDataset
from mmdetlike.engine.hooks.report_hook import annotations_are_resized, sheet_entry
from mmdetlike.structures import DetDataSample

LOAD, RESIZE = dict(type='LoadAnnotations'), dict(type='Resize', scale=(32, 32))


@pytest.mark.parametrize(('steps', 'resized'), [([LOAD, RESIZE], True), ([RESIZE, LOAD], False), ([RESIZE], False)])
def test_boxes_follow_the_picture_only_if_loaded_before_it_is_resized(steps, resized):
    dataset = CocoDataset(ann_file='none.json', lazy_init=True, pipeline=[*steps, dict(type='PackDetInputs')])
    assert annotations_are_resized(dataset) is resized


@pytest.mark.parametrize(('scaled', 'expected'), [(True, [2.0, 4.0, 8.0, 16.0]), (False, [1.0, 2.0, 4.0, 8.0])])
def test_truth_is_in_pixels_of_the_original_picture(scaled, expected):
    sample = DetDataSample(metainfo=dict(ori_shape=(40, 40), scale_factor=(0.5, 0.5), img_id=3))
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[1.0, 2.0, 4.0, 8.0]]), labels=torch.tensor([0]))
    sample.pred_instances = InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0).long())
    picture, _, truth, caption = sheet_entry(sample, torch.zeros(3, 20, 20, dtype=torch.uint8), scaled, num_classes=2)
    assert truth.bboxes.tolist() == [expected]
    assert picture.shape == (40, 40, 3) and caption == 'image_3'
