"""Points, and the anchors of SSD, YOLO and the toolbox's first version."""

import doctest
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.models.task_modules import (
    AnchorGenerator,
    LegacyAnchorGenerator,
    LegacySSDAnchorGenerator,
    MlvlPointGenerator,
    SSDAnchorGenerator,
    YOLOAnchorGenerator,
)
from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes

SSD300 = dict(
    strides=[8, 16, 32, 64, 100, 300],
    ratios=[[2], [2, 3], [2, 3], [2, 3], [2], [2]],
    scale_major=False,
    basesize_ratio_range=(0.15, 0.9),
    input_size=300,
)
YOLO = dict(
    strides=[32, 16, 8],
    base_sizes=[
        [(116, 90), (156, 198), (373, 326)],
        [(30, 61), (62, 45), (59, 119)],
        [(10, 13), (16, 30), (33, 23)],
    ],
)


@pytest.mark.parametrize('name', ['base', 'legacy_anchor_generator', 'yolo_anchor_generator'])
def test_docstring_examples(name):
    module = import_module(f'mmdetlike.models.task_modules.prior_generators.{name}')
    results = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.attempted >= 1 and results.failed == 0


# -- points ----------------------------------------------------------------------------------------------------------


def test_points_of_two_levels():
    generator = MlvlPointGenerator([4, (8, 16)], offset=0)
    first, second = generator.grid_priors([(2, 2), (2, 1)], device='cpu')
    assert first.tolist() == [[0, 0], [4, 0], [0, 4], [4, 4]]
    assert second.tolist() == [[0, 0], [0, 16]]
    with_stride = generator.grid_priors([(1, 1), (2, 1)], device='cpu', with_stride=True)[1]
    assert with_stride.tolist() == [[0, 0, 8, 16], [0, 16, 8, 16]]
    assert generator.num_base_priors == [1, 1] and generator.num_levels == 2


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([0, 0.5]), st.randoms(use_true_random=False))
def test_points_are_cell_plus_offset_times_stride(height, width, offset, random):
    generator = MlvlPointGenerator([4, (8, 16)], offset)
    points = generator.grid_priors([(1, 1), (height, width)], device='cpu')[1].reshape(height, width, 2)
    y, x = random.randrange(height), random.randrange(width)
    assert points[y, x].tolist() == [(x + offset) * 8, (y + offset) * 16]
    sparse = generator.sparse_priors(torch.tensor([y * width + x]), (height, width), 1, device='cpu')
    assert sparse.tolist() == [points[y, x].tolist()]


def test_points_keep_their_place_in_half_precision():
    points = MlvlPointGenerator([8]).grid_priors([(1, 4000)], dtype=torch.float16, device='cpu')[0]
    exact = MlvlPointGenerator([8]).grid_priors([(1, 4000)], device='cpu')[0]
    assert points.dtype == torch.float16
    torch.testing.assert_close(points, exact.half(), rtol=0, atol=0)  # rounded once


def test_points_on_the_image():
    flags = MlvlPointGenerator([4, 8]).valid_flags([(3, 3), (2, 2)], (9, 5), device='cpu')
    assert flags[0].reshape(3, 3).tolist() == [[True, True, False]] * 3
    assert flags[1].reshape(2, 2).tolist() == [[True, False]] * 2


def test_points_wrong_number_of_maps():
    with pytest.raises(ValueError, match='2 strides need as many feature maps, got 1'):
        MlvlPointGenerator([4, 8]).grid_priors([(1, 1)], device='cpu')
    assert repr(MlvlPointGenerator([4])) == 'MlvlPointGenerator(strides=[(4, 4)], offset=0.5)'


# -- SSD -------------------------------------------------------------------------------------------------------------


def test_ssd300_sizes_and_numbers():
    generator = TASK_UTILS.build(dict(type='mmdet.SSDAnchorGenerator', **SSD300))
    assert generator.num_base_priors == generator.num_base_anchors == [4, 6, 6, 6, 4, 4]
    assert generator.base_sizes == [21, 45, 99, 153, 207, 261]
    sizes = [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)]
    assert sum(len(level) for level in generator.grid_priors(sizes, device='cpu')) == 8732  # as the paper says


def test_ssd300_first_cell():
    anchors = SSDAnchorGenerator(**SSD300).base_anchors[0]
    expected = [
        [-6.5, -6.5, 14.5, 14.5],
        [-11.3704, -11.3704, 19.3704, 19.3704],
        [-10.8492, -3.4246, 18.8492, 11.4246],
        [-3.4246, -10.8492, 11.4246, 18.8492],
    ]
    torch.testing.assert_close(anchors, torch.tensor(expected), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    'input_size, ratio_range, sizes',
    [
        (300, (0.2, 0.9), [30, 60, 111, 162, 213, 264]),
        (512, (0.1, 0.9), [20, 51, 133, 215, 296, 378, 460]),
        (512, (0.15, 0.9), [35, 76, 153, 230, 307, 384, 460]),
    ],
)
def test_ssd_sizes(input_size, ratio_range, sizes):
    strides = [8, 16, 32, 64, 128, 256, 512][: len(sizes)]
    generator = SSDAnchorGenerator(
        strides, [[2]] * len(sizes), basesize_ratio_range=ratio_range, input_size=input_size, scale_major=False
    )
    assert generator.base_sizes == sizes
    for base, scales, larger in zip(sizes, generator.scales, sizes[1:]):
        assert base * float(scales[1]) ** 2 == pytest.approx(larger, abs=1)


@settings(max_examples=25, deadline=None)
@given(st.floats(8, 100), st.floats(1, 4), st.lists(st.floats(1.1, 5), min_size=1, max_size=3))
def test_ssd_anchors_of_given_sizes(low, growth, ratios):
    generator = SSDAnchorGenerator([16], [ratios], [low], [low * growth], scale_major=False)
    boxes = generator.base_anchors[0]
    sides = boxes[:, 2:] - boxes[:, :2]
    expected = [(low, low), (low * growth**0.5,) * 2]
    for ratio in ratios:
        expected += [(low * ratio**0.5, low / ratio**0.5), (low / ratio**0.5, low * ratio**0.5)]
    torch.testing.assert_close(sides, torch.tensor(expected), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close((boxes[:, :2] + boxes[:, 2:]) / 2, torch.full((len(boxes), 2), 8.0), atol=1e-3, rtol=0)


def test_ssd_wrong_settings():
    with pytest.raises(ValueError, match='both min_sizes and max_sizes or neither'):
        SSDAnchorGenerator([8], [[2]], min_sizes=[10])
    with pytest.raises(ValueError, match='max_sizes must have one entry a stride'):
        SSDAnchorGenerator([8], [[2]], min_sizes=[10], max_sizes=[20, 30])
    with pytest.raises(ValueError, match='ratios must have one entry a stride'):
        SSDAnchorGenerator([8], [], min_sizes=[10], max_sizes=[20])
    with pytest.raises(ValueError, match=r'got \(300, 0.3\); give min_sizes and max_sizes'):
        SSDAnchorGenerator([8, 16, 32], [[2]] * 3, basesize_ratio_range=(0.3, 0.9))
    with pytest.raises(ValueError, match='3 strides or more, got 2'):
        SSDAnchorGenerator([8, 16], [[2]] * 2)
    assert 'scales=[[1.0, 2.0]]' in repr(SSDAnchorGenerator([8], [[2]], [10], [40]))


# -- the first version -----------------------------------------------------------------------------------------------


def test_legacy_anchors_are_whole_and_one_pixel_less():
    settings = dict(strides=[8], ratios=[0.5, 1.0, 2.0], scales=[4.0, 8.0], center_offset=0.5)
    legacy, today = LegacyAnchorGenerator(**settings).base_anchors[0], AnchorGenerator(**settings).base_anchors[0]
    assert torch.equal(legacy, legacy.round())
    less = (today[:, 2:] - today[:, :2]) - (legacy[:, 2:] - legacy[:, :2])
    assert bool(((less >= 0) & (less <= 2)).all())
    assert legacy[2].tolist() == [-12, -12, 19, 19]


def test_legacy_ssd():
    names = ('strides', 'ratios', 'basesize_ratio_range', 'scale_major')
    legacy = LegacySSDAnchorGenerator(**{name: SSD300[name] for name in names})
    assert legacy.centers[0] == (3.5, 3.5)
    # 21 pixels around 3.5: from -6.5 to 13.5, rounded to even
    assert legacy.base_anchors[0][0].tolist() == [-6, -6, 14, 14]
    assert legacy.num_base_priors == [4, 6, 6, 6, 4, 4]


# -- YOLO ------------------------------------------------------------------------------------------------------------


def test_yolo_base_anchors():
    generator = YOLOAnchorGenerator(**YOLO)
    assert generator.num_levels == 3 and generator.num_base_priors == [3, 3, 3]
    assert generator.base_anchors[0].tolist() == [
        [-42.0, -29.0, 74.0, 61.0],
        [-62.0, -83.0, 94.0, 115.0],
        [-170.5, -147.0, 202.5, 179.0],
    ]
    grid = generator.grid_priors([(1, 1), (1, 1), (2, 2)], device='cpu')[2]
    assert grid[3].tolist() == [7.0, -2.5, 17.0, 10.5]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 63), st.integers(0, 63), st.integers(1, 20))
def test_yolo_responsible_cells(x, y, half):
    generator = YOLOAnchorGenerator(**YOLO)
    sizes = [(2, 2), (4, 4), (8, 8)]
    box = torch.tensor([[x - half, y - half, x + half, y + half]], dtype=torch.float32)
    for flags, (height, width), (stride, _) in zip(
        generator.responsible_flags(sizes, box, device='cpu'), sizes, generator.strides
    ):
        assert flags.dtype == torch.uint8
        cells = flags.reshape(height, width, 3)
        assert cells.sum() == 3 and cells[y // stride, x // stride].tolist() == [1, 1, 1]


def test_yolo_centres_beyond_the_map_and_no_objects():
    generator = YOLOAnchorGenerator([8], [[(4, 4)]])
    beyond = torch.tensor([[12.0, 12, 20, 20], [-9, -9, -1, 3]])  # a centre on the far border, one left of the map
    assert generator.responsible_flags([(2, 2)], beyond, device='cpu')[0].tolist() == [1, 0, 0, 1]
    assert generator.responsible_flags([(2, 2)], torch.zeros(0, 4), device='cpu')[0].tolist() == [0] * 4


def test_yolo_box_type_and_wrong_settings():
    boxes = YOLOAnchorGenerator([8], [[(4, 4)]], use_box_type=True).grid_priors([(1, 1)], device='cpu')[0]
    assert isinstance(boxes, HorizontalBoxes) and boxes.tensor.tolist() == [[2, 2, 6, 6]]
    with pytest.raises(ValueError, match=r'base_sizes must have one entry a stride \(2\), got 1'):
        YOLOAnchorGenerator([8, 16], [[(4, 4)]])
    assert repr(YOLOAnchorGenerator([8], [[(4, 4)]])) == (
        'YOLOAnchorGenerator(strides=[(8, 8)], base_sizes=[[(4, 4)]])'
    )
