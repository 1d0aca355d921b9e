"""Every transform that changes a picture is shown in docs/transforms.md."""

import importlib
import sys
from pathlib import Path

import pytest

from tests.datasets import test_boxes_follow_pixels as tables

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / 'docs/images/transforms'
# These change what they hold, nothing that can be seen, or the meaning of numbers; or crop as RandomCrop does.
UNSEEN = {'Compose', 'ProposalBroadcaster', 'ColorTransform', 'Normalize', 'CategoryAreaCrop'}


@pytest.fixture(scope='module')
def gallery():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'tools/docs'))
        yield importlib.import_module('gallery')
        del sys.modules['gallery']


def test_what_changes_pictures_is_shown(gallery):
    changing = {*tables.MOVES, *tables.MIXES, *tables.HIDES, *tables.RECOLORS} - UNSEEN
    assert changing - set(gallery.SHOWN) == set()


def test_every_picture_is_there_and_small(gallery):
    files = {path.stem: path.stat().st_size for path in IMAGES.glob('*.jpg')}
    assert set(files) == {gallery.ORIGINAL, *gallery.SHOWN}
    assert sum(files.values()) < 1_000_000


@pytest.mark.parametrize(('name', 'draws'), [('Resize', 1), ('CachedMosaic', 3), ('MixUp', 3), ('InstaBoost', 3)])
def test_pictures_are_painted(gallery, name, draws):
    painted = gallery.paint(name)
    width = gallery.TILE[1]
    assert painted.shape == (gallery.TILE[0], 3 * width + 12, 3)
    tiles = {painted[:, start : start + width].tobytes() for start in (0, width + 6, 2 * width + 12)}
    assert len(tiles) == draws
    assert gallery.paint(gallery.ORIGINAL).tobytes() not in tiles
