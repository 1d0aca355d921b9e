"""Structures that Detectron2 documents: ways to write boxes, lists of images, keypoints, masks over boxes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdetlike.structures import (
    BitmapMasks,
    BoxMode,
    HorizontalBoxes,
    ImageList,
    Keypoints,
    PolygonMasks,
    ROIMasks,
    bbox_overlaps,
    pairwise_ioa,
)
from mmdetlike.structures.bbox import RotatedBoxes
from mmdetlike.structures.keypoints import heatmaps_to_keypoints

XYXY, XYWH, XYWHA = BoxMode.XYXY_ABS, BoxMode.XYWH_ABS, BoxMode.XYWHA_ABS


@pytest.mark.parametrize('kind', [list, tuple, np.array, torch.tensor])
def test_a_converted_box_is_what_was_given(kind):
    box = kind([10.0, 20.0, 30.0, 50.0])
    converted = BoxMode.convert(box, XYXY, XYWH)
    assert type(converted) is type(box)
    assert list(converted) == [10, 20, 20, 30]
    assert list(BoxMode.convert(converted, XYWH, XYXY)) == list(box)


def test_modes_have_their_documented_numbers():
    assert [mode.name for mode in sorted(BoxMode)] == ['XYXY_ABS', 'XYWH_ABS', 'XYXY_REL', 'XYWH_REL', 'XYWHA_ABS']
    assert BoxMode.convert([0.0, 0, 2, 3], 1, 0) == [0, 0, 2, 3]


def test_rotated_boxes_become_the_ones_around_them():
    box = torch.tensor([[5.0, 3, 4, 2, 90]], dtype=torch.float64)
    assert BoxMode.convert(box, XYWHA, XYXY)[0].tolist() == pytest.approx([4, 1, 6, 5])
    assert BoxMode.convert((4.0, 1.0, 2.0, 4.0), XYWH, XYWHA) == (5, 3, 2, 4, 0)


def test_whole_numbers_of_one_byte_do_not_wrap_around():
    boxes = np.array([[200, 200, 100, 100]], dtype=np.uint8)
    assert BoxMode.convert(boxes, XYWH, XYXY).tolist() == [[200, 200, 300, 300]]


def test_relative_boxes_stay_relative():
    assert BoxMode.convert([0.25, 0.5, 0.75, 1.0], BoxMode.XYXY_REL, BoxMode.XYWH_REL) == [0.25, 0.5, 0.5, 0.5]
    with pytest.raises(ValueError, match='XYXY_REL to XYXY_ABS takes the size of the image'):
        BoxMode.convert([0.0, 0, 1, 1], BoxMode.XYXY_REL, XYXY)
    with pytest.raises(ValueError, match=r'XYWHA_ABS has 5 numbers, got shape \(4,\)'):
        BoxMode.convert([0.0, 0, 1, 1], XYWHA, XYXY)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=4), st.sampled_from([0, 1, 32]))
def test_images_come_out_of_a_list_as_they_went_in(sizes, divisor):
    images = [torch.full((3, *size), float(i + 1)) for i, size in enumerate(sizes)]
    batch = ImageList.from_tensors(images, divisor, pad_value=-1.0)
    assert all(torch.equal(batch[i], image) for i, image in enumerate(images))
    assert len(batch) == len(images) and batch.image_sizes == sizes
    assert all(side % max(divisor, 1) == 0 for side in batch.tensor.shape[-2:])
    assert (batch.tensor == -1).sum() == batch.tensor.numel() - sum(image.numel() for image in images)


def test_images_that_do_not_fit_together_are_told():
    with pytest.raises(ValueError, match='alike but for h and w'):
        ImageList.from_tensors([torch.zeros(3, 4, 4), torch.zeros(1, 4, 4)])
    with pytest.raises(ValueError, match='square_size is 8, but an image has 9 x 4 pixels'):
        ImageList.from_tensors([torch.zeros(3, 9, 4)], padding_constraints={'square_size': 8})
    assert ImageList.from_tensors([torch.zeros(9, 4)], padding_constraints={'square_size': 16}).tensor.shape[1:] == (
        16,
        16,
    )


def test_overlap_over_the_area_of_the_second_boxes():
    large, small = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 5, 10], [20.0, 0, 21, 1]])
    assert pairwise_ioa(large, small).tolist() == [[1, 0]]
    assert pairwise_ioa(small, large).tolist() == [[0.5], [0]]
    assert pairwise_ioa(HorizontalBoxes(large), HorizontalBoxes(small)).tolist() == [[1, 0]]
    assert bbox_overlaps(HorizontalBoxes(small), HorizontalBoxes(large)).tolist() == [[0.5], [0]]


def test_nonempty_asks_for_both_sides():
    boxes = HorizontalBoxes([[0, 0, 5, 5], [0, 0, 5, 0], [3, 3, 4, 9]])
    assert boxes.nonempty().tolist() == [True, False, True]
    assert boxes.nonempty(threshold=1).tolist() == [True, False, False]


def test_only_upright_rotated_boxes_are_clipped():
    degrees = torch.tensor([[5.0, 5, 20, 4, 0.5], [5, 5, 20, 4, 2], [5, 5, 20, 4, 360]])
    boxes = RotatedBoxes(torch.cat([degrees[:, :4], degrees[:, 4:].deg2rad()], dim=1))
    boxes.clip_upright_((10, 12))
    assert boxes.tensor[0, :4].tolist() == [6, 5, 12, 4]
    assert boxes.tensor[0, 4].item() == pytest.approx(math.radians(0.5))
    assert boxes.tensor[1, :4].tolist() == [5, 5, 20, 4]
    assert boxes.tensor[2, :4].tolist() == [6, 5, 12, 4]


def test_a_keypoint_goes_to_its_cell_and_back():
    boxes = torch.tensor([[10.0, 20, 66, 76]])
    points = Keypoints([[[12.5, 21.5, 2], [66.0, 76.0, 1], [12.0, 22.0, 0], [5.0, 30.0, 2]]])
    cells, valid = points.to_heatmap(boxes, 56)
    assert valid.tolist() == [[True, True, False, False]]
    assert cells.tolist()[0][:2] == [1 * 56 + 2, 56 * 56 - 1]
    maps = torch.zeros(1, 4, 56 * 56).scatter(2, cells[..., None], 30.0).unflatten(2, (56, 56))
    back = heatmaps_to_keypoints(maps, boxes)
    assert back.shape == (1, 4, 4)
    assert back[0, 0, :2].tolist() == [12.5, 21.5]
    assert back[0, 0, 2].item() == pytest.approx(30)
    assert 0.9 < back[0, 0, 3].item() <= 1


def test_keypoints_are_selected_and_joined():
    points = Keypoints(torch.arange(18.0).reshape(3, 2, 3))
    assert len(points[1]) == 1 and len(points[torch.tensor([True, False, True])]) == 2
    assert torch.equal(Keypoints.cat([points[0], points[1:]]).tensor, points.tensor)
    with pytest.raises(ValueError, match=r'shape \(n, k, 3\), but its shape is \(2, 3\)'):
        Keypoints([[1, 2, 3], [4, 5, 6]])


def test_masks_over_boxes_become_bitmaps():
    masks = ROIMasks(torch.ones(2, 28, 28))
    bitmaps = masks.to_bitmasks(torch.tensor([[2.0, 3, 6, 9], [0, 0, 1, 1]]), 12, 10)
    assert isinstance(bitmaps, BitmapMasks) and bitmaps.areas.tolist() == [24, 1]
    assert masks[:1].to_bitmasks(HorizontalBoxes([[2, 3, 6, 9]]), 12, 10).areas.tolist() == [24]
    assert len(masks[0]) == 1
    empty = masks.to_bitmasks(torch.zeros(2, 4), 12, 10)
    assert empty.get_bboxes().tensor.tolist() == [[0, 0, 0, 0]] * 2
    with pytest.raises(ValueError, match='shape'):
        ROIMasks(torch.ones(28, 28))


def test_a_polygon_has_three_points():
    with pytest.raises(ValueError, match=r'needs 3 points, got the coordinates \[0, 0, 10, 0\]'):
        PolygonMasks([[[0, 0, 10, 0]]], 20, 20)
