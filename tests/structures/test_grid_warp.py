"""Pixels moved by a grid of sampling points."""

import numpy as np
import pytest

from mmdetlike.structures import GridWarp


def centers(height, width):
    """The grid that leaves an image of (height, width) as it is: the centers of its pixels in [-1, 1]."""
    y, x = np.mgrid[:height, :width]
    return np.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], axis=-1)


@pytest.mark.parametrize('interpolation', ['bilinear', 'nearest', 'bicubic'])
@pytest.mark.parametrize('shape', [(5, 7), (5, 7, 3), (5, 7, 1)])
def test_pixel_centers_leave_an_image_as_it_is(interpolation, shape):
    img = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    same = GridWarp(centers(5, 7), interpolation).image(img)
    assert same.dtype == np.uint8
    assert np.array_equal(same, img)


def test_images_blend_and_label_maps_do_not():
    img = np.array([[0, 100], [200, 40]], np.uint8)
    between = GridWarp([[[0, -0.5], [-0.5, 0.2]]])
    assert between.image(img).tolist() == [[50, 140]]  # halfway between two pixels, and 0.7 of the way down
    assert between.size == (1, 2)
    labels = np.array([[3, 300_000], [255, 7]], np.int64)
    assert GridWarp([[[-0.4, -0.6], [0.3, 0.1]]]).label_map(labels).tolist() == [[3, 7]]
    mask = np.array([[True, False]])
    assert GridWarp(centers(1, 2)[:, ::-1]).label_map(mask).tolist() == [[False, True]]


def test_points_outside_show_the_edge():
    assert GridWarp([[[-3, 0], [3, 0]]]).image(np.array([[1.5, 2.5]])).tolist() == [[1.5, 2.5]]


@pytest.mark.parametrize(
    'arguments, message',
    [
        ((np.zeros((2, 3)),), r'needs a grid of shape \(h, w, 2\), got one of shape \(2, 3\)'),
        (([[[np.nan, 0]]],), 'the grid holds NaN'),
        ((np.zeros((1, 1, 2)), 'linear'), r"one of \('bilinear', 'nearest', 'bicubic'\), got 'linear'"),
    ],
)
def test_what_is_no_grid_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GridWarp(*arguments)
