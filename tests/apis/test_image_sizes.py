"""What size deployed programs have by default."""

import copy
import json

import pytest

from mmdetlike.apis.image_sizes import size_of_images
from mmdetlike.errors import ConfigError
from tests.apis.helpers import CLASSES, picture, tiny_detector, write_pictures

LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackDetInputs', meta_keys=('img_path', 'img_shape'))
PIPELINE = 'test_dataloader.dataset.pipeline'


@pytest.fixture(scope='module')
def detector():
    return tiny_detector()


@pytest.fixture
def sized(detector, monkeypatch):
    """What the size is with other steps in the test pipeline, and with other entries of the test dataset."""
    cfg = detector.cfg

    def size(*steps, **dataset):
        changed = copy.deepcopy(cfg)
        changed.test_dataloader.dataset.pipeline = [LOAD, *steps, PACK]
        if dataset:
            changed.test_dataloader.dataset = dict(pipeline=[LOAD, *steps, PACK], **dataset)
        monkeypatch.setattr(detector, 'cfg', changed)
        return size_of_images(detector)

    return size


def write_annotations(folder, sizes):
    """A COCO file of pictures of these heights and widths, without objects."""
    images = [dict(id=i, file_name=f'{i}.png', height=height, width=width) for i, (height, width) in enumerate(sizes)]
    categories = [dict(id=i + 1, name=name) for i, name in enumerate(CLASSES)]
    (folder / 'coco.json').write_text(json.dumps(dict(images=images, annotations=[], categories=categories)))
    names = dict(ann_file='coco.json', metainfo=dict(classes=CLASSES))
    return dict(type='CocoDataset', data_root=str(folder), test_mode=True, **names)


@pytest.mark.parametrize(
    'step, expected',
    [
        (dict(type='Resize', scale=(192, 128), keep_ratio=True), (192, 192)),
        (dict(type='Resize', scale=(1333, 800), keep_ratio=True), (1344, 1344)),
        (dict(type='Resize', scale=(200, 100), keep_ratio=False), (128, 224)),
        (dict(type='Pad', size=(4000, 4000)), (4000, 4000)),
    ],
)
def test_every_picture_fits_into_it(sized, step, expected):
    assert sized(step) == expected


def test_a_pipeline_that_leaves_pictures_as_they_are_takes_those_of_the_test_set(sized, tmp_path):
    assert sized() == (128, 128)  # the quickstart's
    assert sized(**write_annotations(tmp_path, [(40, 70), (90, 20)])) == (96, 96)


def test_a_pipeline_that_resizes_by_a_factor_does_so_to_those_of_the_test_set(sized, tmp_path):
    factor = dict(type='Resize', scale_factor=2.0)
    assert sized(factor, **write_annotations(tmp_path, [(40, 70), (80, 20)])) == (160, 160)


def test_datasets_that_read_files_alone_know_sizes_too(sized, tmp_path):
    write_pictures(tmp_path, 2)
    assert picture(0).shape[:2] == (64, 96)
    assert sized(type='UnlabeledDataset', data_prefix=dict(img=str(tmp_path))) == (64, 96)


def test_a_test_set_that_is_not_there_asks_for_a_size(sized, tmp_path):
    message = r'resizes pictures to no size of its own, .* is not known \(.*coco.json.*\): give --size H W'
    with pytest.raises(ConfigError, match=message):
        sized(type='CocoDataset', data_root=str(tmp_path / 'gone'), ann_file='coco.json')


class Nothing(list):
    """A dataset without pictures."""

    def __init__(self, pipeline):
        super().__init__()

    def get_data_info(self, index):
        raise IndexError(index)


class Unknown(list):
    """A dataset that doesn't tell what is in it."""

    def __init__(self, pipeline):
        super().__init__([0])


@pytest.mark.parametrize('kind, reason', [(Nothing, 'it has no pictures'), (Unknown, 'Unknown has no get_data_info')])
def test_a_test_set_without_known_pictures_asks_for_a_size(sized, kind, reason):
    with pytest.raises(ConfigError, match=rf'\({reason}\): give --size H W'):
        sized(type=kind)
