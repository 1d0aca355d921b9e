import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPoint, Point, Polygon

from mmdetlike.errors import ConfigError
from mmdetlike.structures.bbox import HorizontalBoxes, QuadriBoxes, RotatedBoxes, convert_box_type, geometry
from mmdetlike.structures.bbox.transforms import bbox2distance
from mmdetlike.structures.mask import BitmapMasks
from mmdetlike.structures.warp import Warp, map_back, project_boxes

quick = settings(max_examples=40, deadline=None)
SIZE = (80, 120)  # (h, w)


@st.composite
def rotated_tensors(draw, min_boxes=0):
    coordinate, side = st.floats(0, 100), st.floats(1, 60)
    box = st.tuples(coordinate, coordinate, side, side, st.floats(-4, 4))
    boxes = draw(st.lists(box, min_size=min_boxes, max_size=4))
    return torch.tensor(boxes, dtype=torch.float64).reshape(-1, 5)


def polygon(box):
    """By shapely's own rotation of an upright rectangle, independent of ours; its y axis is ours, downwards."""
    from shapely import affinity
    from shapely.geometry import box as rectangle

    x, y, w, h, angle = box.tolist()
    return affinity.rotate(rectangle(x - w / 2, y - h / 2, x + w / 2, y + h / 2), angle, use_radians=True)


def assert_same_shapes(boxes, polygons):
    assert len(boxes) == len(polygons)
    for corners, expected in zip(geometry.corners(boxes), polygons):
        got = Polygon(corners.tolist())
        # of nearly equal polygons GEOS may get areas of differences wrong, but not distances
        assert got.hausdorff_distance(expected) <= 1e-6 * expected.length + 1e-6


@quick
@given(rotated_tensors())
def test_corners_are_those_of_turned_rectangles(boxes):
    assert_same_shapes(boxes, [polygon(box) for box in boxes])


@quick
@given(rotated_tensors())
def test_corners_give_the_box_again(boxes):
    again = geometry.enclosing_rectangles(geometry.corners(boxes))
    assert torch.allclose(again[:, :4], boxes[:, :4], atol=1e-6)
    assert torch.allclose((again[:, 4] - boxes[:, 4]).sin(), torch.zeros(len(boxes)).double(), atol=1e-6)
    assert ((again[:, 4] >= -math.pi / 2) & (again[:, 4] < math.pi / 2)).all()


@quick
@given(rotated_tensors())
def test_enclosing_boxes_are_tight(boxes):
    expected = [polygon(box).bounds for box in boxes]
    assert np.allclose(geometry.to_horizontal(boxes).numpy(), np.array(expected).reshape(-1, 4))


@quick
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=4, max_size=4))
def test_rectangles_around_quadrilaterals_are_the_smallest(points):
    box = geometry.enclosing_rectangles(torch.tensor(points, dtype=torch.float64))
    hull = MultiPoint(points).convex_hull
    assert geometry.areas(box).item() == pytest.approx(hull.minimum_rotated_rectangle.area, abs=1e-6)
    assert polygon(box).buffer(1e-6).contains(hull)


@quick
@given(rotated_tensors(), rotated_tensors())
def test_overlaps_are_those_of_polygons(a, b):
    iou, iof = geometry.overlaps(a, b), geometry.overlaps(a, b, 'iof')
    assert iou.shape == (len(a), len(b))
    for i, j in np.ndindex(*iou.shape):
        one, other = polygon(a[i]), polygon(b[j])
        shared = one.intersection(other).area
        assert iou[i, j].item() == pytest.approx(shared / one.union(other).area, abs=1e-5)
        assert iof[i, j].item() == pytest.approx(shared / one.area, abs=1e-5)


def test_overlaps_of_two_kinds_take_enclosing_boxes():
    rotated = torch.tensor([[10.0, 10, 10, 10, math.pi / 4]])
    reach = 10 / math.sqrt(2)
    assert geometry.overlaps(rotated, geometry.to_horizontal(rotated)).item() == pytest.approx(1)
    upright = torch.tensor([[10 - reach, 10 - reach, 10, 10 + reach]])
    assert geometry.overlaps(upright, rotated).item() == pytest.approx(0.5)
    with pytest.raises(ValueError, match="'giou'"):
        geometry.overlaps(rotated, rotated, 'giou')


@quick
@given(rotated_tensors(), st.sampled_from(['horizontal', 'vertical', 'diagonal']))
def test_flips_are_those_of_the_image(boxes, direction):
    flipped = RotatedBoxes(boxes)
    flipped.flip_(SIZE, direction)
    warp = Warp.flip(SIZE, direction)
    assert_same_shapes(flipped.tensor, [Polygon(warp.points(c.numpy())) for c in geometry.corners(boxes)])
    assert_same_shapes(warp.boxes(RotatedBoxes(boxes)).tensor, [polygon(b) for b in flipped.tensor])


@quick
@given(rotated_tensors(), st.floats(0, 360), st.floats(-50, 50))
def test_rotations_and_shifts_move_the_corners(boxes, angle, shift):
    from shapely import affinity

    moved = RotatedBoxes(boxes)
    moved.rotate_((60, 40), angle)
    moved.translate_((shift, -shift))
    turned = [affinity.rotate(polygon(box), angle, origin=(60, 40)) for box in boxes]
    assert_same_shapes(moved.tensor, [affinity.translate(one, shift, -shift) for one in turned])


@quick
@given(rotated_tensors(), st.floats(0.5, 2), st.floats(0.5, 2))
def test_a_stretched_box_encloses_its_stretched_corners(boxes, x, y):
    scaled = RotatedBoxes(boxes)
    scaled.rescale_((x, y))
    for box, corners in zip(scaled.tensor, geometry.corners(boxes) * boxes.new_tensor([x, y])):
        assert polygon(box).buffer(1e-6).contains(Polygon(corners.tolist()))
        assert geometry.areas(box).item() <= 2 * Polygon(corners.tolist()).area + 1e-6


@quick
@given(
    st.floats(4, 60),
    st.floats(4, 60),
    st.floats(-3.1, 3.1),
    st.tuples(st.floats(0.2, 4), st.floats(0.2, 4)),
    st.floats(-3.1, 3.1),
    st.booleans(),
)
def test_width_and_direction_follow_the_image(width, height, angle, factors, turn, is_mirrored):
    box = torch.tensor([[50, 40, width, height, angle]], dtype=torch.float64)
    turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear = turned @ np.diag([-factors[0] if is_mirrored else factors[0], factors[1]])
    warped = geometry.project(box, np.block([[linear, np.array([[3], [4]])], [np.zeros((1, 2)), 1]]))[0]
    across = linear @ [math.cos(angle) * width, math.sin(angle) * width]
    down = linear @ [-math.sin(angle) * height, math.cos(angle) * height]
    if is_mirrored:
        across = -across
    # the smallest rectangle around a parallelogram lies along the longer side
    along_width = np.linalg.norm(across) > np.linalg.norm(down)
    vector = across if along_width else [down[1], -down[0]]
    off = (warped[4].item() - math.atan2(vector[1], vector[0]) + math.pi) % (2 * math.pi) - math.pi
    longer, shorter = sorted([np.linalg.norm(across), np.linalg.norm(down)], reverse=True)
    if longer > shorter * 1.01:  # else both directions are as good
        assert abs(off) < 1e-6
        assert warped[2 if along_width else 3].item() == pytest.approx(longer + abs(across @ down) / longer)
    unit_down = np.array([-math.sin(warped[4]), math.cos(warped[4])])
    assert unit_down @ down > 0  # it points where it did
    assert -math.pi <= warped[4] < math.pi


@pytest.mark.parametrize('direction', ['horizontal', 'diagonal'])
def test_a_flip_by_a_warp_is_that_of_boxes(direction):
    boxes = torch.tensor([[30.0, 20, 24, 10, angle] for angle in (-3, -1.7, -0.4, 0.3, 1.2, 2.9)])
    flipped = RotatedBoxes(boxes)
    flipped.flip_(SIZE, direction)
    moved = Warp.flip(SIZE, direction).boxes(RotatedBoxes(boxes)).tensor
    half = math.pi if direction == 'diagonal' else 0  # flip_ leaves the half circle out
    off = (moved[:, 4] - flipped.tensor[:, 4] - half + math.pi) % (2 * math.pi) - math.pi
    assert off.abs().max() < 1e-5
    torch.testing.assert_close(moved[:, :4], flipped.tensor[:, :4])


def test_an_evenly_scaled_box_keeps_its_angle():
    boxes = torch.tensor([[10.0, 20, 8, 4, 0.3]])
    assert torch.allclose(geometry.scale(boxes, (2, 2)), torch.tensor([[20.0, 40, 16, 8, 0.3]]))


@quick
@given(rotated_tensors(), st.sampled_from(sorted(geometry.ANGLE_VERSIONS)))
def test_angle_versions_are_the_same_rectangles(boxes, version):
    written = RotatedBoxes(boxes).regularize_boxes(version)
    assert_same_shapes(written, [polygon(box) for box in boxes])
    longer, least = geometry.ANGLE_VERSIONS[version]
    angles = written[:, 4]
    period = math.pi if longer else math.pi / 2
    assert (angles >= least - 1e-9).all() and (angles <= least + period + 1e-9).all()
    assert not longer or (written[:, 2] >= written[:, 3]).all()


def test_unknown_angle_versions_are_refused():
    with pytest.raises(ValueError, match="angle_version='le45' is unknown; expected one of oc, le90, le135"):
        geometry.regularize(torch.zeros(1, 5), 'le45')


@quick
@given(rotated_tensors(), st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=5))
def test_points_inside(boxes, points):
    inside = RotatedBoxes(boxes).find_inside_points(torch.tensor(points, dtype=torch.float64), eps=0)
    for i, j in np.ndindex(len(points), len(boxes)):
        shape, point = polygon(boxes[j]), Point(points[i])
        if shape.exterior.distance(point) > 1e-6:
            assert inside[i, j].item() == shape.contains(point)


def test_boxes_in_the_image_by_center_or_as_a_whole():
    boxes = RotatedBoxes([[1, 1, 8, 8, 0.5], [60, 40, 8, 8, 0.5], [-1, 40, 8, 8, 0.5]])
    assert boxes.is_inside(SIZE).tolist() == [True, True, False]
    assert boxes.is_inside(SIZE, all_inside=True).tolist() == [False, True, False]
    assert boxes.is_inside(SIZE, allowed_border=2).tolist() == [True, True, True]
    clipped = boxes.clone()
    clipped.clip_(SIZE)
    assert torch.equal(clipped.tensor, boxes.tensor)


def test_kinds_become_each_other():
    upright = HorizontalBoxes([[10, 20, 30, 60]])
    rotated = convert_box_type(upright, dst_type='rbox')
    assert rotated.tensor.tolist() == [[20, 40, 20, 40, 0]]
    corners = convert_box_type(rotated, dst_type='qbox')
    assert corners.tensor.tolist() == [[10, 20, 30, 20, 30, 60, 10, 60]]
    assert convert_box_type(corners, dst_type='rbox').tensor.tolist() == [[20, 40, 20, 40, 0]]
    assert convert_box_type(corners, dst_type=HorizontalBoxes).tensor.tolist() == [[10, 20, 30, 60]]
    assert convert_box_type(rotated, dst_type='rbox') is rotated


def test_quadrilaterals_follow_the_image():
    boxes = QuadriBoxes([[10, 10, 20, 10, 20, 30, 10, 30]])
    boxes.flip_(SIZE)
    assert boxes.tensor.tolist() == [[110, 10, 100, 10, 100, 30, 110, 30]]
    boxes.rescale_((2, 1))
    assert boxes.widths.item() * boxes.heights.item() == pytest.approx(20 * 20)
    boxes.resize_((2, 2))
    assert boxes.areas.item() == pytest.approx(1600)
    assert boxes.centers.tolist() == [[210, 20]]


def test_boxes_around_masks():
    mask = np.zeros((1, 20, 30), np.uint8)
    mask[0, 5:8, 10:20] = 1
    boxes = RotatedBoxes.from_instance_masks(BitmapMasks(np.concatenate([mask, mask * 0]), 20, 30))
    assert convert_box_type(boxes, dst_type='hbox').tensor[0].tolist() == pytest.approx([10, 5, 20, 8], abs=1e-4)
    assert boxes.tensor[1].tolist() == [0] * 5


@quick
@given(rotated_tensors())
def test_predictions_map_back(boxes):
    from mmengine.structures import InstanceData

    warp = Warp.affine(np.array([[0.6, -0.8, 30], [0.8, 0.6, -5], [0, 0, 1]]), SIZE, SIZE)
    found = InstanceData(bboxes=torch.from_numpy(project_boxes(boxes, warp.matrix).numpy()))
    back = map_back(found, warp.matrix, ori_shape=SIZE)
    assert_same_shapes(back.bboxes, [polygon(box) for box in boxes])


def test_what_takes_axis_aligned_boxes_says_so():
    sentence = r'^bbox2distance takes axis-aligned boxes, 4 numbers each, but got 5 numbers \(rotated boxes\)\.$'
    with pytest.raises(ConfigError, match=sentence):
        bbox2distance(torch.zeros(1, 2), torch.zeros(1, 5))
    with pytest.raises(ConfigError, match=r'^Coder takes rotated boxes, 5 .* got 4 numbers \(axis-aligned boxes\)\.$'):
        geometry.require_kind(torch.zeros(1, 4), geometry.ROTATED, 'Coder')
