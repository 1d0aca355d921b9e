"""DetInferencer on tiles."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmdetlike.apis import DetInferencer, init_detector
from mmdetlike.apis.tiles import open_windows
from mmdetlike.datasets.errors import ImageError
from mmdetlike.engine import tile_masks
from tests.apis.helpers import picture, tiny_detector
from tests.utils import python


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


def tiny_mask_detector():
    torch.manual_seed(0)
    model = init_detector('mask-rcnn_r18_fpn_shapes', device='cpu')
    with torch.no_grad():
        model.roi_head.bbox_head.fc_cls.weight.mul_(20)
    return model


def test_masks_of_large_pictures_are_encoded_and_drawn_as_others(monkeypatch):
    masks = DetInferencer(tiny_mask_detector(), show_progress=False, tile=64, overlap=0.25)
    image = picture(1, 100, 120)
    first = masks(image, return_vis=True, pred_score_thr=0)
    assert len(first['predictions'][0]['masks']) > 0
    monkeypatch.setattr(tile_masks, 'LARGEST_BITMAPS', 0)
    second = masks(image, return_vis=True, pred_score_thr=0)
    assert first['predictions'] == second['predictions']
    assert np.array_equal(first['visualization'][0], second['visualization'][0])


def test_a_tiff_file_is_read_by_windows(inferencer, tmp_path):
    pytest.importorskip('rasterio')
    path = tmp_path / 'large.tif'
    image = picture(2, 150, 200)
    cv2.imwrite(str(path), image)
    assert open_windows(path) is not None
    (got,) = inferencer(str(path), batch_size=4)['predictions']
    (expected,) = inferencer(image, batch_size=4)['predictions']
    assert got == expected


def test_a_damaged_tiff_file_costs_no_other_picture(inferencer, tmp_path):
    pytest.importorskip('rasterio')
    cv2.imwrite(str(tmp_path / 'a.tif'), picture(2, 150, 200))
    cv2.imwrite(str(tmp_path / 'b.tif'), picture(3, 150, 200))
    content = (tmp_path / 'a.tif').read_bytes()
    (tmp_path / 'a.tif').write_bytes(content[:8] + bytes(1000) + content[1008:])
    assert open_windows(tmp_path / 'a.tif') is not None
    damaged, whole = inferencer(str(tmp_path))['predictions']
    assert 'a.tif: rows ' in damaged['error']
    assert len(whole['labels']) > 0
    with pytest.raises(ImageError, match=r'a\.tif: rows '):
        inferencer(str(tmp_path / 'a.tif'))


def test_a_tiff_file_that_is_turned_is_read_whole(tmp_path):
    pytest.importorskip('rasterio')
    image = Image.fromarray(picture(2, 150, 200))
    exif = Image.Exif()
    for orientation in (1, 6):
        exif[0x0112] = orientation
        image.save(tmp_path / f'{orientation}.tif', exif=exif)
    assert open_windows(tmp_path / '1.tif') is not None
    assert open_windows(tmp_path / '6.tif') is None


PEAK = """
import resource
from mmdetlike.apis.tiles import open_windows
from mmdetlike.datasets.errors import ImageError
from mmdetlike.engine import tile_masks
from mmdetlike.engine.tiling import Tiling

source = open_windows({path!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for window in Tiling(1000, 0.2).windows(*source.shape):
    source.read(window)
print(source.shape, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_windows_of_a_picture_of_200_megapixels_need_little_memory(tmp_path):
    """Decoded, it has 600 MB; GDAL's own cache would keep all of them on a machine with memory to spare."""
    rasterio = pytest.importorskip('rasterio')
    path = tmp_path / 'large.tif'
    row = np.arange(20_000) // 78 % 256
    block = np.broadcast_to(row.astype(np.uint8), (3, 1000, 20_000))
    layout = dict(tiled=True, blockxsize=512, blockysize=512, compress='lzw', photometric='RGB')
    with rasterio.open(path, 'w', 'GTiff', 20_000, 10_000, 3, dtype='uint8', **layout) as file:
        for top in range(0, 10_000, 1000):
            file.write(block, window=((top, top + 1000), (0, 20_000)))
    done = python('-c', PEAK.format(path=str(path)))
    assert done.returncode == 0, done.stderr
    shape, megabytes = done.stdout.rsplit(' ', 1)
    assert shape == '(10000, 20000)'
    assert float(megabytes) < 250
