"""DetInferencer on tiles."""

import cv2
import numpy as np
import pytest

from mmdetlike.apis import DetInferencer
from mmdetlike.apis.tiles import open_windows
from tests.apis.helpers import picture, tiny_detector


@pytest.fixture(scope='module')
def inferencer():
    return DetInferencer(tiny_detector(), show_progress=False, tile=64, overlap=0.25)


def test_a_picture_no_larger_than_a_tile_is_looked_at_once(inferencer):
    image = picture(0, 64, 64)
    (got,) = inferencer(image)['predictions']
    (expected,) = DetInferencer(tiny_detector(), show_progress=False)(image)['predictions']
    assert len(got['labels']) > 0
    assert sorted(got['scores'], reverse=True) == got['scores']
    assert set(map(tuple, got['bboxes'])) <= set(map(tuple, expected['bboxes']))


def test_it_finds_more_in_a_large_picture(inferencer, tmp_path):
    image = picture(1, 150, 200)
    cv2.imwrite(str(tmp_path / 'large.png'), image)
    batches = inferencer([image, str(tmp_path / 'large.png')], batch_size=3, return_vis=True)
    first, second = batches['predictions']
    assert first == second
    boxes = np.array(first['bboxes'])
    assert len(boxes) > 0
    assert boxes[:, 2].max() > 64 and boxes[:, 2].max() <= 200
    assert batches['visualization'][0].shape == (150, 200, 3)


def test_a_tiff_file_is_read_by_windows(inferencer, tmp_path):
    pytest.importorskip('rasterio')
    path = tmp_path / 'large.tif'
    image = picture(2, 150, 200)
    cv2.imwrite(str(path), image)
    assert open_windows(path) is not None
    (got,) = inferencer(str(path), batch_size=4)['predictions']
    (expected,) = inferencer(image, batch_size=4)['predictions']
    assert got == expected
