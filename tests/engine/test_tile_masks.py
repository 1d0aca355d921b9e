"""Masks of tiles: small parts, joined to bitmaps or run-length encodings of whole pictures."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.engine import tile_masks
from mmdetlike.engine.tile_masks import TileMask, Window, encoded, picture_masks, tile_mask
from mmdetlike.evaluation.metrics.convert import encode_masks
from mmdetlike.structures.mask import rle_to_bitmap


def test_only_the_part_with_pixels_is_kept():
    mask = torch.zeros(1000, 1000, dtype=torch.bool)
    mask[10:14, 20:23] = True
    kept = tile_mask(mask, Window(100, 200, 1100, 1200))
    assert kept.part == Window(110, 220, 114, 223)
    assert kept.pixels.shape == (4, 3) and kept.pixels.all()
    assert kept.pixels.untyped_storage().nbytes() == 12


def test_a_mask_of_a_view_in_fewer_pixels_is_enlarged_where_it_is():
    mask = torch.zeros(10, 20, dtype=torch.bool)
    mask[2:4, 5:9] = True
    kept = tile_mask(mask, Window(0, 0, 100, 200))
    picture = torch.zeros(100, 200, dtype=torch.bool)
    kept.paste(picture)
    assert picture[20:40, 50:90].all() and picture.sum() == 20 * 40


def test_empty_masks():
    nothing = tile_mask(torch.zeros(4, 4, dtype=torch.bool), Window(2, 2, 6, 6))
    picture = torch.zeros(8, 8, dtype=torch.bool)
    nothing.paste(picture)
    assert not picture.any()
    assert encoded([nothing], (8, 8)) == dict(size=[8, 8], counts=[64])
    assert picture_masks([], (8, 8)).shape == (0, 8, 8)


@st.composite
def unions(draw):
    """A picture's size, and masks of windows in it."""
    height = draw(st.integers(1, 12))
    width = draw(st.integers(1, 12))
    parts = []
    for seed in draw(st.lists(st.integers(0, 99), min_size=1, max_size=3)):
        top = draw(st.integers(0, height - 1))
        left = draw(st.integers(0, width - 1))
        window = Window(top, left, draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width)))
        size = (window.bottom - window.top, window.right - window.left)
        chance = draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
        mask = torch.rand(size, generator=torch.Generator().manual_seed(seed)) < chance
        parts.append(tile_mask(mask, window))
    return (height, width), parts


@settings(deadline=None, max_examples=200)
@given(unions())
def test_encodings_are_those_of_the_bitmaps(union):
    shape, parts = union
    bitmap = picture_masks([parts], shape)
    encoding = encoded(parts, shape)
    assert np.array_equal(rle_to_bitmap(encoding).astype(bool), bitmap[0].numpy())
    # the same text as of the bitmap: the shortest encoding, without empty runs
    assert encode_masks([encoding]) == encode_masks(bitmap)


def test_many_masks_of_a_large_picture_are_encoded(monkeypatch):
    part = TileMask(torch.ones(2, 3, dtype=torch.bool), Window(4, 5, 6, 8))
    bitmaps = picture_masks([[part], [part]], (10, 10))
    monkeypatch.setattr(tile_masks, 'LARGEST_BITMAPS', 199)
    encodings = picture_masks([[part], [part]], (10, 10))
    assert isinstance(encodings, list)
    assert encode_masks(encodings) == encode_masks(bitmaps)
