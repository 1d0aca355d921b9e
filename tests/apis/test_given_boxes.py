"""Masks for boxes that are given."""

import pytest
import torch

from mmdetlike.apis import inference_detector, init_detector
from mmdetlike.datasets.errors import DataError
from mmdetlike.errors import ConfigError
from tests.apis.helpers import picture, tiny_detector
from tests.utils import ROOT


@pytest.fixture(scope='module')
def detector():
    torch.manual_seed(0)
    return init_detector(ROOT / 'configs/quickstart/mask-rcnn_r18_fpn_shapes.py', device='cpu')


BOXES = dict(bboxes=[[10, 10, 50, 40], [60.5, 3, 90, 60]], labels=[1, 4])


def test_boxes_stay_as_they_are(detector):
    found = inference_detector(detector, picture(), given_boxes=BOXES).pred_instances
    torch.testing.assert_close(found.bboxes, torch.tensor(BOXES['bboxes']))
    assert found.labels.tolist() == [1, 4] and found.scores.tolist() == [1, 1]
    assert found.masks.shape == (2, 64, 96)
    # a mask stays within its box
    assert not found.masks[0, :, 52:].any()
    several = inference_detector(detector, [picture()] * 2, given_boxes=[BOXES, dict(bboxes=[], labels=[])])
    assert [len(sample.pred_instances) for sample in several] == [2, 0]


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(bboxes=[[1, 2, 3, 4]]), 'given_boxes has no labels'),
        (dict(bboxes=[[1, 2, 3]], labels=[0]), r'bboxes of shape \(1, 3\), labels of \(1,\)'),
        (dict(bboxes=[[1, 2, 3, 4]], labels=[0, 1]), r'labels of \(2,\)'),
        (dict(bboxes=[[1, 2, 3, 4]], labels=[5]), 'label 5 is none of the 5 classes'),
    ],
)
def test_what_does_not_fit_is_told(detector, given, message):
    with pytest.raises(DataError, match=message):
        inference_detector(detector, picture(), given_boxes=given)


def test_fewer_boxes_than_pictures(detector):
    with pytest.raises(DataError, match='fewer entries than there are pictures'):
        inference_detector(detector, [picture()] * 2, given_boxes=[BOXES])


def test_a_detector_of_boxes_has_nothing_to_add():
    with pytest.raises(ConfigError, match='FasterRCNN predicts neither masks nor keypoints'):
        inference_detector(tiny_detector(), picture(), given_boxes=BOXES)
