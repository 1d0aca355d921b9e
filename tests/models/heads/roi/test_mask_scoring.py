"""Mask Scoring R-CNN: how well masks fit, and what it does to scores."""

import numpy as np
import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.roi.mask_scoring_roi_head import mask_ious, visible_shares
from mmdetlike.registry import MODELS
from mmdetlike.structures.mask import BitmapMasks
from tests.models.families import FAMILIES
from tests.models.tiny import make_sample, sampling


def test_overlap_with_the_whole_object():
    # the region shows half of an object of 4 cells; the mask hits one of these two cells and another one
    masks = torch.tensor([[[True, False], [False, True]]])
    targets = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    torch.testing.assert_close(mask_ious(masks, targets, torch.tensor([0.5])), torch.tensor([1 / 5]))
    assert mask_ious(masks & False, targets * 0, torch.tensor([0.0])).tolist() == [0]


def test_visible_shares():
    sample = make_sample([[0.0, 0, 8, 8], [4, 4, 12, 12]], shape=(16, 16))
    masks = np.zeros((2, 16, 16), np.uint8)
    masks[0, :8, :8] = 1
    masks[1, 4:12, 4:12] = 1
    sample.gt_instances.masks = BitmapMasks(masks, 16, 16)
    boxes = torch.tensor([[0.0, 0, 3, 7], [0, 0, 15, 15], [8, 8, 15, 15], [0, 0, 1, 1]])
    result = sampling(boxes, [1, 2, 2, 0], sample.gt_instances.bboxes)
    torch.testing.assert_close(visible_shares([result], [sample]), torch.tensor([0.5, 1.0, 0.25]))


def test_masks_that_miss_take_no_part():
    head = MODELS.build(FAMILIES['ms_rcnn'](2)['roi_head']['mask_iou_head'])
    pred = torch.tensor([[1.0, 5.0], [7.0, 0.5]])
    loss = head.loss(pred, torch.tensor([0.0, 0.25]), torch.tensor([0, 1]))
    torch.testing.assert_close(loss, torch.tensor(0.5 * 0.25**2))
    assert head.loss(pred, torch.zeros(2), torch.tensor([0, 1])) == 0
    assert head.loss(pred[:0], torch.zeros(0), torch.zeros(0, dtype=torch.long)) == 0


def test_masks_are_needed():
    cfg = FAMILIES['ms_rcnn'](2)['roi_head']
    with pytest.raises(ConfigError, match='MaskScoringRoIHead scores masks, but there is no mask_head'):
        MODELS.build(dict(cfg, mask_head=None, mask_roi_extractor=None))
