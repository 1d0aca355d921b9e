"""Pictures of any depth and any number of channels as bytes in RGB."""

import numpy as np
import pytest

from mmdetlike.visualization.pixels import picture_of_pixels

GRAY = np.array([[0, 100], [200, 50]])


@pytest.mark.parametrize(
    ('image', 'expected'),
    [
        (GRAY.astype(np.uint8), GRAY),
        (GRAY.astype(np.float32), GRAY),
        (GRAY.astype(np.float32) * 1.4, [[0, 140], [255, 70]]),  # overshoot of a resize is clipped
        ((GRAY * 257).astype(np.uint16), [[0, 127], [255, 63]]),
        (GRAY.astype(np.float32) / 200, [[0, 127], [255, 63]]),
        (np.zeros((2, 2), np.float32), np.zeros((2, 2))),
        (GRAY.astype(np.int64), GRAY),
    ],
    ids=['bytes', 'floats', 'overshoot', '16 bits', 'shares', 'black', 'integers'],
)
@pytest.mark.parametrize('channels', [None, 1, 2])
def test_depth(image, expected, channels):
    if channels is not None:
        image = np.dstack([image, np.zeros_like(image)])[..., :channels]
    shown = picture_of_pixels(image)
    assert shown.dtype == np.uint8 and shown.shape == (2, 2, 3)
    assert all(shown[..., channel].tolist() == np.asarray(expected).tolist() for channel in range(3))


@pytest.mark.parametrize('channels', [3, 4, 5])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_channels(channels, dtype):
    image = np.zeros((1, 2, channels), dtype)
    image[..., :3] = (10, 20, 30)
    shown = picture_of_pixels(image)
    assert shown[0, 0].tolist() == [30, 20, 10]
    shown[:] = 0
    assert image[0, 0, 0] == 10  # a copy
