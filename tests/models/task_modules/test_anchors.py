"""Anchors: their numbers, their order, and which of them count."""

import doctest

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.models.task_modules import (
    AnchorGenerator,
    LegacyAnchorGenerator,
    MlvlPointGenerator,
    YOLOAnchorGenerator,
    anchor_inside_flags,
    calc_region,
    images_to_levels,
)
from mmdetlike.models.task_modules.prior_generators import anchor_generator
from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes


def test_docstring_example():
    results = doctest.testmod(anchor_generator, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.attempted >= 1 and results.failed == 0


def test_one_anchor_a_cell():
    anchors = AnchorGenerator([16], [1.0], [1.0], [9]).grid_priors([(2, 2)], device='cpu')
    expected = [[-4.5, -4.5, 4.5, 4.5], [11.5, -4.5, 20.5, 4.5], [-4.5, 11.5, 4.5, 20.5], [11.5, 11.5, 20.5, 20.5]]
    assert len(anchors) == 1 and anchors[0].tolist() == expected


def test_two_levels_have_their_stride_as_base_size():
    generator = AnchorGenerator([16, 32], [1.0], [1.0])
    first, second = generator.grid_priors([(2, 2), (1, 1)], device='cpu')
    assert first[3].tolist() == [8.0, 8.0, 24.0, 24.0] and len(first) == 4
    assert second.tolist() == [[-16.0, -16.0, 16.0, 16.0]]


def test_ratio_is_height_by_width_at_equal_area():
    boxes = AnchorGenerator([10], [0.25, 1.0, 4.0], [2.0]).base_anchors[0]
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    torch.testing.assert_close(height / width, torch.tensor([0.25, 1.0, 4.0]))
    torch.testing.assert_close(width * height, torch.full((3,), 400.0))


@pytest.mark.parametrize('scale_major, widths', [(True, [16.0, 32.0, 8.0, 16.0]), (False, [16.0, 8.0, 32.0, 16.0])])
def test_order_within_a_cell(scale_major, widths):
    boxes = AnchorGenerator([8], [0.25, 1.0], [1.0, 2.0], scale_major=scale_major).base_anchors[0]
    assert (boxes[:, 2] - boxes[:, 0]).tolist() == widths


def test_rectangular_strides():
    anchors = AnchorGenerator([(4, 8)], [1.0], [1.0]).grid_priors([(2, 2)], device='cpu')[0]
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert centers.tolist() == [[0, 0], [4, 0], [0, 8], [4, 8]]
    assert (anchors[0, 2:] - anchors[0, :2]).tolist() == [4, 4]


def test_center_offset_and_centers():
    half = AnchorGenerator([8, 16], [1.0], [1.0], center_offset=0.5)
    assert half.base_anchors[1].tolist() == [[0, 0, 16, 16]]
    placed = AnchorGenerator([8, 16], [1.0], [1.0], centers=[(4, 4), (1, 3)])
    assert placed.base_anchors[0].tolist() == half.base_anchors[0].tolist() == [[0, 0, 8, 8]]
    assert placed.base_anchors[1].tolist() == [[-7, -5, 9, 11]]


def test_octave_scales():
    generator = AnchorGenerator([8], [1.0], octave_base_scale=4, scales_per_octave=3)
    torch.testing.assert_close(generator.scales, torch.tensor([4.0, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3)]))


def test_numbers_of_levels_and_anchors():
    generator = AnchorGenerator([8, 16, 32], [0.5, 1.0], [1.0, 2.0, 4.0])
    assert generator.num_levels == 3
    assert generator.num_base_priors == generator.num_base_anchors == [6, 6, 6]


@st.composite
def grids(draw):
    generator = AnchorGenerator(
        [draw(st.sampled_from([4, 8, (4, 8)])), 16],
        draw(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=1, max_size=3, unique=True)),
        draw(st.lists(st.sampled_from([1.0, 3.0]), min_size=1, max_size=2, unique=True)),
        scale_major=draw(st.booleans()),
        center_offset=draw(st.sampled_from([0.0, 0.5])),
    )
    return generator, draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))


@settings(max_examples=25, deadline=None)
@given(grids())
def test_grid_is_the_base_anchors_at_every_cell(grid):
    generator, (height, width) = grid
    anchors = generator.grid_priors([(height, width), (1, 1)], device='cpu')[0].reshape(height, width, -1, 4)
    stride_x, stride_y = generator.strides[0]
    y, x = height - 1, width // 2
    shift = torch.tensor([x * stride_x, y * stride_y] * 2)
    torch.testing.assert_close(anchors[y, x], generator.base_anchors[0] + shift)


def test_types():
    generator = AnchorGenerator([8], [1.0], [1.0])
    assert generator.grid_priors([(1, 1)], dtype=torch.float64, device='cpu')[0].dtype == torch.float64
    assert generator.grid_priors([(1, 1)], dtype=torch.float16, device='cpu')[0].dtype == torch.float16
    boxes = AnchorGenerator([8], [1.0], [1.0], use_box_type=True).grid_priors([(1, 2)], device='cpu')[0]
    assert isinstance(boxes, HorizontalBoxes) and boxes.tensor[1].tolist() == [4, -4, 12, 4]


def test_valid_flags():
    generator = AnchorGenerator([8, 16], [0.5, 1.0], [1.0])
    flags = generator.valid_flags([(3, 4), (2, 2)], (17, 16), device='cpu')
    # 17 pixels reach into the third row of stride 8, 16 pixels end with the second column
    assert flags[0].reshape(3, 4, 2)[..., 0].tolist() == [[True, True, False, False]] * 3
    assert torch.equal(flags[0].reshape(-1, 2)[:, 0], flags[0].reshape(-1, 2)[:, 1])
    assert flags[1].reshape(2, 2, 2)[..., 1].tolist() == [[True, False]] * 2
    assert all(f.dtype == torch.bool for f in flags)


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(scales=[1.0], octave_base_scale=4, scales_per_octave=3), 'either scales or both octave_base_scale'),
        (dict(), 'either scales or both octave_base_scale'),
        (dict(octave_base_scale=4), 'scales_per_octave=None'),
        (dict(scales=[1.0], base_sizes=[8]), r'base_sizes must have one entry a stride \(2\), got 1'),
        (dict(scales=[1.0], centers=[(0, 0)]), r'centers must have one entry a stride \(2\), got 1'),
        (dict(scales=[1.0], center_offset=1.5), r'center_offset must be in \[0, 1\].*got 1.5'),
        (dict(scales=[1.0], center_offset=0.5, centers=[(0, 0)] * 2), '0 where centers are given'),
    ],
)
def test_wrong_settings(kwargs, message):
    with pytest.raises(ValueError, match=message):
        AnchorGenerator([8, 16], [1.0], **kwargs)


def test_wrong_number_of_maps():
    generator = AnchorGenerator([8, 16], [1.0], [1.0])
    with pytest.raises(ValueError, match='2 strides need as many feature maps, got 1'):
        generator.grid_priors([(1, 1)], device='cpu')
    with pytest.raises(ValueError, match='2 strides need as many feature maps, got 3'):
        generator.valid_flags([(1, 1)] * 3, (8, 8), device='cpu')


def test_repr_tells_the_settings():
    text = repr(TASK_UTILS.build(dict(type='AnchorGenerator', strides=[8], ratios=[0.5], scales=[4.0])))
    assert 'strides=[(8, 8)]' in text and 'ratios=[0.5]' in text and 'scales=[4.0]' in text


def test_anchor_inside_flags():
    anchors = torch.tensor(
        [[0.0, 0, 9, 9], [-1, 0, 5, 5], [0, -2, 5, 5], [5, 5, 10, 9], [5, 5, 9, 20], [-100, -100, 200, 200]]
    )
    valid = torch.tensor([True, True, True, True, True, True])
    inside = lambda border, flags=valid: anchor_inside_flags(anchors, flags, (20, 10), border).tolist()  # noqa: E731
    assert inside(0) == [True, False, False, False, False, False]
    assert inside(1) == [True, True, False, True, True, False]
    assert inside(2) == [True, True, True, True, True, False]
    assert inside(-1) == [True] * 6
    half = torch.tensor([False, True] * 3)
    assert inside(2, half) == [False, True, False, True, False, False]
    assert inside(-1, half) == half.tolist()


def test_older_names_give_the_same():
    generator = AnchorGenerator([16], [1.0], [1.0], [9])
    assert torch.equal(
        generator.grid_anchors([(2, 2)], device='cpu')[0], generator.grid_priors([(2, 2)], device='cpu')[0]
    )
    of_level = generator.single_level_grid_anchors(generator.base_anchors[0], (2, 2), (16, 16), device='cpu')
    assert torch.equal(of_level, generator.grid_priors([(2, 2)], device='cpu')[0])
    legacy = LegacyAnchorGenerator([16], [1.0], [1.0], [9], center_offset=0.5).grid_anchors(((2, 2),), device='cpu')
    assert legacy[0].tolist() == [[0, 0, 8, 8], [16, 0, 24, 8], [0, 16, 8, 24], [16, 16, 24, 24]]


def test_flags_of_single_levels():
    anchors = AnchorGenerator([16], [1.0], [1.0, 2.0])
    flags = anchors.single_level_valid_flags((2, 2), (1, 2), 2, device='cpu')
    assert flags.tolist() == [True, True, True, True, False, False, False, False]
    points = MlvlPointGenerator([16])
    assert points.single_level_valid_flags((2, 2), (2, 1), device='cpu').tolist() == [True, False, True, False]
    assert points.grid_priors([(1, 1)], torch.float32, 'cpu', True)[0].tolist() == [[8, 8, 16, 16]]
    yolo = YOLOAnchorGenerator([32], [[(8, 8), (16, 8)]])
    boxes = torch.tensor([[40.0, 0, 50, 10]])
    flags = yolo.single_level_responsible_flags((2, 2), boxes, (32, 32), 2, device='cpu')
    assert flags.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert yolo.gen_single_level_base_anchors([(8, 4)]).tolist() == [[-4, -2, 4, 2]]


def test_regions_and_levels():
    assert [int(x) for x in calc_region(torch.tensor([0.0, 0, 40, 80]), 0.5)] == [10, 20, 30, 60]
    assert [int(x) for x in calc_region(torch.tensor([0.0, 0, 40, 80]), 2.0, (50, 45))] == [0, 0, 45, 50]
    images = [torch.arange(5), torch.arange(5, 10)]
    assert [level.tolist() for level in images_to_levels(images, [2, 3])] == [[[0, 1], [5, 6]], [[2, 3, 4], [7, 8, 9]]]
