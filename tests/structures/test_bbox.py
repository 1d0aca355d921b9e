import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData

from mmdetlike.structures.bbox import (
    HorizontalBoxes,
    bbox2distance,
    bbox2roi,
    bbox_cxcywh_to_xyxy,
    bbox_flip,
    bbox_mapping,
    bbox_mapping_back,
    bbox_overlaps,
    bbox_xyxy_to_cxcywh,
    cat_boxes,
    distance2bbox,
    geometry,
    get_box_tensor,
    get_box_type,
    get_box_wh,
    register_box,
    roi2bbox,
    scale_boxes,
    stack_boxes,
)

quick = settings(max_examples=25, deadline=None)
coordinate = st.floats(0, 200, width=32)


@st.composite
def box_tensors(draw, max_boxes=6):
    corners = draw(st.lists(st.tuples(*[coordinate] * 4), min_size=0, max_size=max_boxes))
    boxes = torch.tensor(corners, dtype=torch.float32).reshape(-1, 2, 2)
    return torch.cat([boxes.amin(1), boxes.amax(1)], dim=-1)


def iou_by_hand(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(w, 0) * max(h, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    iou = inter / max(union, 1e-6)
    return iou, iou - (max(hull, 1e-6) - max(union, 1e-6)) / max(hull, 1e-6)


@quick
@given(box_tensors(), box_tensors())
def test_overlaps_match_the_definition(a, b):
    iou, giou = bbox_overlaps(a.double(), b.double()), bbox_overlaps(a.double(), b.double(), mode='giou')
    assert iou.shape == (len(a), len(b))
    for i, j in np.ndindex(len(a), len(b)):
        expected = iou_by_hand(a[i].tolist(), b[j].tolist())
        assert iou[i, j].item() == pytest.approx(expected[0], abs=1e-6)
        assert giou[i, j].item() == pytest.approx(expected[1], abs=1e-6)


def test_overlap_modes_on_known_boxes():
    a, b = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 0, 15, 10], [20, 20, 30, 30]])
    assert bbox_overlaps(a, b).tolist() == [[pytest.approx(1 / 3), 0]]
    assert bbox_overlaps(a, b[:1], mode='iof').item() == pytest.approx(0.5)
    assert bbox_overlaps(a, b[1:], mode='giou').item() == pytest.approx(-1 + 200 / 900)


def test_aligned_and_batched_overlaps_agree_with_the_plain_ones():
    torch.manual_seed(0)
    a, b = (bbox_cxcywh_to_xyxy(torch.rand(3, 5, 4)) for _ in range(2))
    full = bbox_overlaps(a, b)
    assert torch.allclose(bbox_overlaps(a, b, is_aligned=True), full.diagonal(dim1=1, dim2=2))
    assert torch.allclose(full[1], bbox_overlaps(a[1], b[1]))


def test_overlaps_of_large_half_precision_boxes_are_finite():
    boxes = torch.tensor([[0.0, 0, 1000, 1000]]).half()
    overlaps = bbox_overlaps(boxes, boxes)
    assert overlaps.dtype == torch.float16
    assert overlaps.item() == 1


@pytest.mark.parametrize('mode', ['iou', 'iof', 'giou'])
def test_overlaps_have_gradients(mode):
    a = torch.tensor([[0.0, 0, 10, 10], [3, 2, 9, 8]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[5.0, 1, 15, 12]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: bbox_overlaps(x, b, mode), (a,))


def test_overlaps_reject_what_does_not_fit():
    boxes = torch.zeros(2, 4)
    with pytest.raises(ValueError, match=r"mode='area'.*iou, iof, giou"):
        bbox_overlaps(boxes, boxes, mode='area')
    with pytest.raises(ValueError, match='4 coordinates'):
        bbox_overlaps(torch.zeros(2, 5), boxes)
    with pytest.raises(ValueError, match='as many boxes'):
        bbox_overlaps(boxes, torch.zeros(3, 4), is_aligned=True)
    with pytest.raises(ValueError, match='leading'):
        bbox_overlaps(boxes[None], boxes)


@quick
@given(box_tensors(), st.sampled_from(['horizontal', 'vertical', 'diagonal']))
def test_flip_twice_is_identity(boxes, direction):
    once = bbox_flip(boxes, (210, 220), direction)
    assert torch.allclose(bbox_flip(once, (210, 220), direction), boxes, atol=1e-4)
    objects = HorizontalBoxes(boxes)
    objects.flip_((210, 220), direction)
    assert torch.equal(objects.tensor, once)


def test_flip_moves_the_sides():
    boxes = torch.tensor([[1.0, 2, 5, 9, 0, 0, 30, 20]])
    assert bbox_flip(boxes, (20, 30)).tolist() == [[25, 2, 29, 9, 0, 0, 30, 20]]
    assert bbox_flip(boxes, (20, 30), 'vertical').tolist() == [[1, 11, 5, 18, 0, 0, 30, 20]]
    with pytest.raises(ValueError, match="'sideways'"):
        bbox_flip(boxes, (20, 30), 'sideways')


def test_sides_of_an_image_turn_shares_into_pixels():
    sides = geometry.image_sides((20, 40, 3), torch.zeros(1, dtype=torch.float64))
    assert sides.tolist() == [40, 20, 40, 20] and sides.dtype == torch.float64


@quick
@given(box_tensors())
def test_encodings_and_mappings_invert_each_other(boxes):
    assert torch.allclose(bbox_cxcywh_to_xyxy(bbox_xyxy_to_cxcywh(boxes)), boxes, atol=1e-4)
    mapped = bbox_mapping(boxes, (100, 400), (2.0, 0.5), True, 'diagonal')
    assert torch.allclose(bbox_mapping_back(mapped, (100, 400), (2.0, 0.5), True, 'diagonal'), boxes, atol=1e-3)
    points = torch.full((len(boxes), 2), 50.0)
    assert torch.allclose(distance2bbox(points, bbox2distance(points, boxes)), boxes, atol=1e-4)


def test_distances_are_clipped():
    points, boxes = torch.tensor([[5.0, 5.0]]), torch.tensor([[0.0, 7, 30, 9]])
    assert bbox2distance(points, boxes).tolist() == [[5, -2, 25, 4]]
    assert bbox2distance(points, boxes, max_dis=10, eps=0.5).tolist() == [[5, 0, 9.5, 4]]
    far = torch.full((2, 1, 4), 100.0)
    assert distance2bbox(points, far[0], max_shape=(20, 30, 3)).tolist() == [[0, 0, 30, 20]]
    batched = distance2bbox(points.expand(2, 1, 2), far, max_shape=[(20, 30), (40, 10)])
    assert batched.tolist() == [[[0, 0, 30, 20]], [[0, 0, 10, 40]]]
    with pytest.raises(ValueError, match='3 image shapes'):
        distance2bbox(points.expand(2, 1, 2), far, max_shape=[(20, 30)] * 3)


def test_rois_carry_the_index_of_their_image():
    rois = bbox2roi([torch.ones(2, 4), HorizontalBoxes(torch.zeros(0, 4)), torch.full((1, 4), 3.0)])
    assert rois.tolist() == [[0, 1, 1, 1, 1], [0, 1, 1, 1, 1], [2, 3, 3, 3, 3]]
    assert [b.tolist() for b in roi2bbox(rois)] == [[[1, 1, 1, 1]] * 2, [[3, 3, 3, 3]]]


def test_horizontal_boxes_measure():
    boxes = HorizontalBoxes([[1, 2, 5, 9]])
    assert (boxes.widths.item(), boxes.heights.item(), boxes.areas.item()) == (4, 7, 28)
    assert boxes.centers.tolist() == [[3, 5.5]]
    assert boxes.cxcywh.tolist() == [[3, 5.5, 4, 7]]
    assert HorizontalBoxes([[3, 5.5, 4, 7]], in_mode='cxcywh').tensor.tolist() == [[1, 2, 5, 9]]
    assert [x.item() for x in get_box_wh(boxes)] == [x.item() for x in get_box_wh(boxes.tensor)] == [4, 7]


def test_horizontal_boxes_change_in_place():
    boxes = HorizontalBoxes([[1, 2, 5, 10]])
    for change, expected in (
        (lambda b: b.translate_((2, -3)), [3, -1, 7, 7]),
        (lambda b: b.clip_((6, 5)), [1, 2, 5, 6]),
        (lambda b: b.rescale_((2, 0.5)), [2, 1, 10, 5]),
        (lambda b: b.resize_((0.5, 2)), [2, -2, 4, 14]),
        (lambda b: b.project_(np.array([[0, 1, 0], [1, 0, 0], [0, 0, 2]])), [1, 0.5, 5, 2.5]),
    ):
        copied = boxes.clone()
        change(copied)
        assert copied.tensor[0].tolist() == expected
    assert boxes.tensor[0].tolist() == [1, 2, 5, 10]


def test_inside_means_a_part_or_the_whole():
    boxes = HorizontalBoxes([[0, 0, 5, 5], [-2, 1, 3, 4], [10, 0, 12, 3], [-5, 0, 0, 3]])
    assert boxes.is_inside((8, 10)).tolist() == [True, True, False, False]
    assert boxes.is_inside((8, 10), all_inside=True).tolist() == [True, False, False, False]
    assert boxes.is_inside((8, 10), all_inside=True, allowed_border=2).tolist() == [True, True, True, False]


def test_points_inside_boxes():
    boxes = HorizontalBoxes([[0, 0, 5, 5], [4, 4, 9, 9]])
    points = torch.tensor([[4.5, 4.5], [1, 1], [0, 0]])
    assert boxes.find_inside_points(points).tolist() == [[True, True], [True, False], [False, False]]
    assert boxes.find_inside_points(points[:2], is_aligned=True).tolist() == [True, False]


def test_boxes_are_indexed_like_tensors():
    boxes = HorizontalBoxes(torch.arange(12.0).reshape(3, 4))
    assert boxes[1].tensor.tolist() == [[4, 5, 6, 7]]
    assert boxes[np.array([True, False, True])].tensor[:, 0].tolist() == [0, 8]
    assert boxes[torch.tensor([2, 0])].tensor[:, 0].tolist() == [8, 0]
    assert len(boxes[:0]) == 0
    assert [b.tensor[0, 0].item() for b in boxes] == [0, 4, 8]
    boxes[0] = boxes[2]
    assert boxes.tensor[0].tolist() == [8, 9, 10, 11]
    duplicate = copy.deepcopy(boxes)
    duplicate.tensor.zero_()
    assert boxes.tensor.sum() > 0


def test_boxes_join():
    a, b = HorizontalBoxes(torch.zeros(1, 4)), HorizontalBoxes(torch.ones(1, 4))
    assert cat_boxes([a, b]).tensor[:, 0].tolist() == [0, 1]
    assert stack_boxes([a, b]).shape == (2, 1, 4)
    assert torch.equal(cat_boxes([a.tensor, b.tensor]), HorizontalBoxes.cat([a, b]).tensor)
    assert a.empty_boxes().shape == (0, 4)
    assert a.fake_boxes((2, 4), 3).tensor.tolist() == [[3] * 4] * 2


def test_boxes_live_in_instance_data():
    instances = InstanceData(bboxes=HorizontalBoxes(torch.arange(12.0).reshape(3, 4)), labels=torch.arange(3))
    kept = instances[torch.tensor([True, False, True])]
    assert kept.bboxes.tensor[:, 0].tolist() == [0, 8]
    assert len(instances[torch.zeros(3, dtype=torch.bool)].bboxes) == 0
    assert instances.to(torch.float64).bboxes.dtype == torch.float64


def test_scale_boxes_takes_tensors_and_objects():
    tensor = torch.tensor([[1.0, 2, 3, 4]])
    assert scale_boxes(tensor, (2, 10)).tolist() == [[2, 20, 6, 40]]
    assert get_box_tensor(scale_boxes(HorizontalBoxes(tensor), (2, 10))).tolist() == [[2, 20, 6, 40]]
    assert tensor.tolist() == [[1, 2, 3, 4]]


def test_box_types_have_names():
    assert get_box_type('hbox') == get_box_type(HorizontalBoxes) == ('hbox', HorizontalBoxes)
    with pytest.raises(KeyError, match=r"'obox'.*there are hbox, qbox, rbox"):
        get_box_type('obox')
    with pytest.raises(KeyError, match='already registered'):
        register_box('hbox')(HorizontalBoxes)


def test_boxes_reject_wrong_data():
    with pytest.raises(ValueError, match=r'\(\.\.\., n, 4\).*\(2, 5\)'):
        HorizontalBoxes(torch.zeros(2, 5))
    with pytest.raises(ValueError, match='xywh'):
        HorizontalBoxes(torch.zeros(2, 4), in_mode='xywh')
    assert HorizontalBoxes([]).shape == (0, 4)
