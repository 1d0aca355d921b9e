import numpy as np
import pytest
from PIL import Image

from mmdetlike.visualization import Instances, contact_sheet, save_image


def one_box(*box, score=None):
    return Instances(np.array([box], float), np.array([0]), None if score is None else np.array([score]))


def test_grid_of_images_of_any_size():
    items = [
        (np.full(shape, 90, np.uint8), one_box(0, 0, 10, 10, score=0.9)) for shape in [(40, 80, 3)] * 3 + [(80, 20, 3)]
    ]
    sheet = contact_sheet(items, columns=2, cell=160)
    assert sheet.shape == ((80 + 8) + (160 + 8), 2 * 168 + 8, 3)
    assert (sheet[8 + 60, 8 + 100] == 90).all(), 'the first picture begins after the gap'
    narrow = contact_sheet(items[:1], columns=4, cell=160)
    assert narrow.shape[1] == 168 + 8


def test_prediction_is_solid_and_ground_truth_dashed_white():
    image = np.full((100, 100, 3), 120, np.uint8)
    items = [(image, one_box(10, 50, 40, 80, score=0.9), one_box(50, 10, 90, 40))]
    sheet = contact_sheet(items, cell=100, classes=('',), palette=[(9, 200, 9)])
    picture = sheet[8:108, 8:108]
    assert (picture[79, 15:35] == (9, 200, 9)).all()
    dashes = picture[10, 50:90]
    assert {tuple(pixel) for pixel in dashes.tolist()} == {(255, 255, 255), (40, 40, 40)}


def test_score_threshold_and_missing_prediction():
    image = np.full((100, 100, 3), 120, np.uint8)
    sheet = contact_sheet([(image, one_box(10, 50, 40, 80, score=0.2)), (image, None, None)], cell=100)
    assert (sheet[8:108, 8:108] == 120).all() and (sheet[8:108, 116:216] == 120).all()


def test_captions():
    image = np.full((50, 100, 3), 120, np.uint8)
    plain, named = contact_sheet([(image, None)], cell=100), contact_sheet([(image, None)], cell=100, captions=['name'])
    assert named.shape[0] == plain.shape[0] + 20
    assert named[58:, 8:108].max() > 200, 'text is drawn below the picture'
    with pytest.raises(ValueError, match='1 captions for 2'):
        contact_sheet([(image, None)] * 2, captions=['a'])
    with pytest.raises(ValueError, match='at least one'):
        contact_sheet([])


def test_save_image_keeps_rgb(tmp_path):
    image = np.zeros((4, 5, 3), np.uint8)
    image[..., 0] = 255
    save_image(image, tmp_path / 'new' / 'a.png')
    assert (np.array(Image.open(tmp_path / 'new' / 'a.png')) == image).all()
