"""What a quick implementation of Detectron2's documentation would miss, as far as no other test is about it."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdetlike.datasets.transforms import FixedSizeCrop, RandomFlip, Resize
from mmdetlike.models.heads.semantic import HeuristicFusionHead
from mmdetlike.registry import MODELS
from mmdetlike.structures import BitmapMasks, HorizontalBoxes, PolygonMasks, Warp
from tests.models.tiny import RPN_HEAD, make_sample


def sample(**fields):
    img = np.zeros((20, 30, 3), np.uint8)
    return dict(img=img, img_shape=(20, 30), ori_shape=(20, 30), **fields)


def test_a_flip_takes_coordinates_as_continuous_and_clips_nothing():
    boxes = HorizontalBoxes(np.array([[0, 0, 10, 10], [25, -5, 40, 8]], np.float32))
    flipped = RandomFlip(1.0)(sample(gt_bboxes=boxes))['gt_bboxes'].tensor
    assert flipped.tolist() == [[20, 0, 30, 10], [-10, -5, 5, 8]]


def test_left_and_right_are_swapped_after_an_odd_number_of_flips():
    keypoints = np.array([[[3, 4, 2], [9, 4, 1]]], np.float32)
    once = RandomFlip(1.0)(sample(gt_keypoints=keypoints, flip_indices=[1, 0]))
    assert once['gt_keypoints'].tolist() == [[[21, 4, 1], [27, 4, 2]]]
    twice = RandomFlip(1.0)({**once, 'flip': False})
    assert twice['gt_keypoints'].tolist() == keypoints.tolist()
    # both directions at once turn the picture, which mirrors nothing
    turned = RandomFlip(1.0, 'diagonal')(sample(gt_keypoints=keypoints, flip_indices=[1, 0]))
    assert turned['gt_keypoints'][0, 0].tolist() == [27, 16, 2]


def test_a_crop_cuts_polygons_which_may_get_more_points():
    triangle = PolygonMasks([[np.array([0.0, 0, 20, 0, 20, 20])]], 20, 30)
    cut = triangle.warp(Warp.window((20, 30), 5, 0, 20, 25), 0)
    (polygon,) = cut.masks[0]
    assert len(polygon) // 2 == 4 and polygon.reshape(-1, 2)[:, 0].min() == 0


def test_masks_of_boxes_are_boolean():
    masks = BitmapMasks(np.ones((1, 8, 8), np.uint8), 8, 8)
    cut = masks.crop_and_resize(np.array([[0, 0, 4, 4]], np.float32), (2, 2), np.array([0]))
    assert set(np.unique(cut.masks).tolist()) <= {0, 1}


@torch.no_grad()
def test_proposals_are_limited_on_each_level_and_then_for_each_image():
    torch.manual_seed(0)
    cfg = dict(nms_pre=7, max_per_img=15, nms=dict(type='nms', iou_threshold=1.0), min_bbox_size=0)
    head = MODELS.build(dict(RPN_HEAD, num_classes=1, train_cfg=None, test_cfg=cfg)).eval()
    x = [torch.rand(2, 8, 64 // s, 64 // s) for s in (8, 16, 32)]
    samples = [make_sample(1, index=i) for i in range(2)]
    found = head.predict(x, samples, rescale=False)
    # 7 of each of 3 levels, then 15 of an image: not of the batch
    assert [len(image) for image in found] == [15, 15]
    head.test_cfg['max_per_img'] = 100
    assert [len(image) for image in head.predict(x, samples, rescale=False)] == [21, 21]


@pytest.mark.parametrize(('size', 'expected'), [((10, 16), (16, 10)), ((40, 40), (40, 40))])
def test_the_size_of_a_crop_is_width_and_height(size, expected):
    # theirs is height and width
    assert FixedSizeCrop(size)(sample())['img'].shape[:2] == expected


def test_pixels_of_things_without_an_instance_belong_to_nobody():
    head = HeuristicFusionHead(1, 1, test_cfg=dict(mask_overlap=0.5, stuff_area_limit=1))
    nothing = InstanceData(masks=torch.zeros(0, 1, 2, dtype=torch.bool), labels=torch.zeros(0), scores=torch.zeros(0))
    logits = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # stuff, then a thing
    assert head.fuse(nothing, logits).tolist() == [[1, 2]]


def test_a_resized_picture_has_the_factors_that_were_reached():
    # 30 x 20 to a longer side of 31: both sides are whole pixels, their factors differ
    resized = Resize(scale=(31, 31), keep_ratio=True)(sample())
    assert resized['img_shape'] == (21, 31) and resized['scale_factor'] == pytest.approx((31 / 30, 21 / 20))
