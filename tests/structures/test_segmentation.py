"""Masks of annotation files: what is read and what is refused; C code only ever sees the former."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from mmdetlike.structures.mask import (
    encode_segmentation,
    polygons_to_bitmap,
    read_segmentation,
    read_segmentations,
    rle_to_bitmap,
    run_lengths,
)

HEIGHT, WIDTH = 64, 96
SQUARE = [8, 8, 48, 8, 48, 48, 8, 48]
RUNS = [64 * 8 + 8, 40] + [24, 40] * 39 + [16 + 64 * 48]
quick = settings(max_examples=60, deadline=None)


def bitmap_of(mask):
    return rle_to_bitmap(encode_segmentation(mask, HEIGHT, WIDTH))


def runs(counts, size=(HEIGHT, WIDTH)):
    return {'size': size, 'counts': counts}


def packed(bitmap):
    return coco_mask.encode(np.asfortranarray(bitmap, dtype=np.uint8))


def square():
    bitmap = np.zeros((HEIGHT, WIDTH), np.uint8)
    bitmap[8:48, 8:48] = 1
    return bitmap


READ = {
    'polygons': [SQUARE],
    'one polygon': SQUARE,
    'points': [[8, 8], [48, 8], [48, 48], [8, 48]],
    'polygons of points': [[[8, 8], [48, 8], [48, 48], [8, 48]]],
    'array': [np.array(SQUARE, np.float32)],
    'run lengths': runs(RUNS),
    'run lengths as floats': runs([float(run) for run in RUNS], [64.0, 96.0]),
    'text': runs(packed(square())['counts'].decode()),
    'bytes': packed(square()),
}


@pytest.mark.parametrize('value', READ.values(), ids=READ)
def test_every_form_of_the_same_square(value):
    mask, problem = read_segmentation(value, HEIGHT, WIDTH)
    assert problem == ''
    assert np.array_equal(bitmap_of(mask), square())


@pytest.mark.parametrize('value', [None, [], [[]], [[], []], ()])
def test_no_mask(value):
    assert read_segmentation(value, HEIGHT, WIDTH) == (None, '')


UNREADABLE = [
    (runs([520, 40, 584, 40]), 'run lengths that do not add up to height x width'),
    (runs([[520, 40], [584, 40]]), 'run lengths that are not a list of whole numbers'),
    (runs([10]), 'run lengths that do not add up to height x width'),
    (runs([100, 9000]), 'run lengths that do not add up to height x width'),
    (runs([2**63 - 1, 2**63 - 1, 2]), 'run lengths that do not add up to height x width'),
    (runs([1e30]), 'run lengths that do not add up to height x width'),
    (runs([2**70]), 'run lengths that are not a list of whole numbers'),
    (runs([-5, 6149]), 'negative run lengths'),
    (runs([0.5, 6143.5]), 'run lengths that are not whole numbers'),
    (runs([float('nan'), 6144]), 'run lengths that are not whole numbers'),
    (runs(['520', '5624']), 'run lengths that are not a list of whole numbers'),
    (runs([]), 'no run lengths'),
    (runs(None), 'no run lengths'),
    (runs({}), 'run lengths that are not a list of whole numbers'),
    (runs([6144]), 'a mask that covers no pixel'),
    (runs('not rle'), 'text that is no run-length encoding'),
    (runs(''), 'text that is no run-length encoding'),
    (runs('ä'), 'text that is no run-length encoding'),
    (runs('o' * 100), 'text that is no run-length encoding'),
    (runs(b'\x00\xff'), 'text that is no run-length encoding'),
    (runs(packed(np.ones((5, 5)))['counts']), 'run lengths that do not add up to height x width'),
    ({'counts': RUNS}, 'run lengths without size'),
    ({'size': [HEIGHT, WIDTH]}, 'run lengths without counts'),
    ({'x': 8}, 'run lengths without size and counts'),
    (runs(RUNS, (WIDTH, HEIGHT)), "run lengths of another size than the image's"),
    (runs(RUNS, '64x96'), 'run lengths whose size is not [height, width]'),
    (runs(RUNS, None), 'run lengths whose size is not [height, width]'),
    (runs(RUNS, [2**2000, 96]), 'an image of more pixels than run lengths can count'),
    (runs(RUNS, [64.5, 96]), 'run lengths whose size is not [height, width]'),
    (runs(RUNS, [float('nan'), 96]), 'run lengths whose size is not [height, width]'),
    (runs(RUNS, [float('inf'), 96]), 'run lengths whose size is not [height, width]'),
    (runs(RUNS, [None, 96]), 'run lengths whose size is not [height, width]'),
    ([[8, 8, 48, float('nan'), 48, 48]], 'coordinates that are not finite or far away'),
    ([[8, 8, 48, float('inf'), 48, 48]], 'coordinates that are not finite or far away'),
    ([[8, 8, 48, 1e300, 48, 48]], 'coordinates that are not finite or far away'),
    ([SQUARE, [8, 8, 48, float('nan'), 48, 48]], 'coordinates that are not finite or far away'),
    ([[8, 8, 48, 8, 48, 48, 9]], 'polygons with an odd number of coordinates'),
    ([[8, 8, 48, 48]], 'polygons of fewer than 3 points'),
    ([[8, 8], [48, 48]], 'polygons of fewer than 3 points'),
    ([None], 'coordinates that are not numbers'),
    ([{'x': 8, 'y': 8}], 'coordinates that are not numbers'),
    ([['8', '8', '48', '8', '48', '48']], 'coordinates that are not numbers'),
    ([SQUARE, None], 'polygons that are not lists of numbers'),
    ([[[[8, 8], [48, 8], [48, 48]]]], 'polygons that are neither flat nor made of [x, y]'),
    ('text', 'neither polygons nor run lengths'),
    (5, 'neither polygons nor run lengths'),
    (True, 'neither polygons nor run lengths'),
    ([[8, 8, 20, 8, 40, 8]], 'a mask that covers no pixel'),
    ([[200, 8, 220, 8, 220, 48]], 'a mask that covers no pixel'),
    ([[10.1, 8, 10.3, 8, 10.3, 48]], 'a mask that covers no pixel'),
    ([[10, 10, 60, 60, 60.01, 60]], 'a mask that covers no pixel'),
    ([[-500, 10, -400, 10, 100, 3000, 0, 3000]], 'a mask that covers no pixel'),
]


@pytest.mark.parametrize(('value', 'problem'), UNREADABLE)
def test_what_cannot_be_read_says_why(value, problem):
    assert read_segmentation(value, HEIGHT, WIDTH) == (None, problem)


def test_parts_that_cover_nothing_are_left_out_and_told():
    mask, problem = read_segmentation([SQUARE, [1, 1, 2, 2]], HEIGHT, WIDTH)
    assert mask == [SQUARE]
    assert problem == 'polygons of fewer than 3 points left out'


def test_more_pixels_than_run_lengths_can_count():
    assert read_segmentation([SQUARE], 10**6, 10**6).problem == 'an image of more pixels than run lengths can count'


def test_far_corners_are_cut_off_without_changing_what_is_inside():
    far = [-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]
    assert polygons_to_bitmap([far], HEIGHT, WIDTH).all()
    half = [48, -1e9, 1e9, -1e9, 1e9, 1e9, 48, 1e9]
    assert np.array_equal(polygons_to_bitmap([half], HEIGHT, WIDTH)[0], np.arange(WIDTH) >= 48)


def test_polygons_that_are_not_finite_are_refused_before_rasterization():
    with pytest.raises(ValueError, match='not finite'):
        polygons_to_bitmap([[0, 0, float('nan'), 5, 5, 5]], HEIGHT, WIDTH)


@quick
@given(st.lists(st.integers(0, 300), min_size=1, max_size=60))
def test_text_counts_are_those_of_pycocotools(lengths):
    # In pairs from the second on, as C merges no runs of length 0 but the first.
    bits = np.repeat(np.arange(len(lengths)) % 2, lengths).astype(np.uint8)
    if not len(bits):
        return
    encoded = packed(bits.reshape(1, -1).T)
    unpacked = run_lengths(encoded['counts'].decode(), len(bits))
    assert np.array_equal(np.repeat(np.arange(len(unpacked)) % 2, unpacked), bits)
    assert np.array_equal(rle_to_bitmap(encoded)[:, 0], bits)


numbers = st.one_of(
    st.integers(-200, 300),
    st.floats(width=32),
    st.sampled_from([float('nan'), float('inf'), 1e30, 2**63, 2**70, -1, None, '8', True]),
)
counts = st.one_of(
    st.lists(numbers, max_size=8),
    st.lists(st.integers(0, HEIGHT * WIDTH // 3), max_size=5).map(lambda runs: [*runs, HEIGHT * WIDTH - sum(runs)]),
    st.text(max_size=12),
    st.none(),
)
sizes = st.one_of(st.just([HEIGHT, WIDTH]), st.lists(numbers, max_size=3), st.none(), st.text(max_size=5))
# As JSON can hold them.
segmentations = st.one_of(
    st.fixed_dictionaries({}, optional={'size': sizes, 'counts': counts}),
    st.recursive(numbers, lambda inner: st.lists(inner, max_size=8), max_leaves=30),
    st.lists(st.lists(st.floats(-150, 250), min_size=6, max_size=24), max_size=3),
    st.lists(numbers, min_size=16, max_size=24),  # readers of files keep long lists as arrays
)


def winding_area(polygons, step=4):
    """An independent rasterization: the even-odd rule at the center of each cell of 1/step pixels, any polygon."""
    xs = (np.arange(WIDTH * step) + 0.5) / step
    ys = (np.arange(HEIGHT * step) + 0.5) / step
    covered = np.zeros((len(ys), len(xs)), bool)
    for polygon in polygons:
        points = np.array(polygon, np.float64).reshape(-1, 2)
        inside = np.zeros_like(covered)
        for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0)):
            crosses = (y1 > ys) != (y2 > ys)
            at = x1 + (ys[crosses] - y1) * ((x2 - x1) / ((y2 - y1) or 1))
            inside[crosses] ^= xs < at[:, None]
        covered |= inside
    return covered.sum() / step**2


@settings(max_examples=300, deadline=None)
@given(segmentations)
def test_any_value_is_a_mask_or_none_with_a_reason(value):
    mask, problem = read_segmentation(value, HEIGHT, WIDTH)
    if mask is None:
        assert problem or value in (None, [], ()) or not any(value)
        return
    bitmap = bitmap_of(mask)
    assert bitmap.shape == (HEIGHT, WIDTH)
    if isinstance(mask, dict) and isinstance(mask['counts'], list):
        assert bitmap.sum() == sum(mask['counts'][1::2])


@quick
@given(st.tuples(*[st.floats(-150, 250)] * 6))
def test_triangles_have_their_area(triangle):
    mask, _ = read_segmentation([list(triangle)], HEIGHT, WIDTH)
    expected = winding_area([triangle])
    drawn = 0 if mask is None else bitmap_of(mask).sum()
    # COCO rounds corners to a fifth of a pixel and columns to whole ones: up to a pixel along the outline.
    assert abs(drawn - expected) <= HEIGHT + WIDTH


CRASHED = """
import numpy as np
from mmdetlike.structures.mask import encode_segmentation, read_segmentation
nan = float('nan')
for value in ({values}):
    mask, problem = read_segmentation(value, 64, 96)
    assert mask is None and problem, (value, mask, problem)
print('alive')
"""


def test_inputs_that_used_to_kill_the_process_do_not():
    values = [value for value, _ in UNREADABLE]
    script = CRASHED.format(values=repr(values).replace('inf', 'float("inf")'))
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, 'alive\n'), done.stderr


def of_points(points):
    return [number for point in points for number in point]


coordinates = st.one_of(
    st.integers(-5, 100),
    st.floats(-5, 100).map(lambda number: round(number, 1)),
    st.sampled_from([float('nan'), float('inf'), 1e300, -1e12, 10**12]),
)
polygons = st.one_of(
    st.lists(st.tuples(st.integers(0, 64), st.integers(0, 64)), min_size=3, max_size=8).map(of_points),
    st.lists(st.tuples(coordinates, coordinates), max_size=6).map(of_points),
    st.lists(coordinates, max_size=7),
)
given_masks = st.one_of(
    st.lists(polygons.map(np.array), max_size=3),
    st.lists(polygons, max_size=2),
    st.sampled_from([None, [], {}, 'text', 3, *READ.values()]),
)


@quick
@given(st.lists(st.tuples(given_masks, st.sampled_from([(64, 96), (50, 40), (10**6, 10**6)])), max_size=8))
def test_many_masks_are_read_as_each_is(pairs):
    values = [value for value, _ in pairs]
    sizes = [size for _, size in pairs]
    expected = [read_segmentation(value, *size) for value, size in pairs]
    assert list(read_segmentations(values, sizes)) == expected


def test_more_masks_than_a_batch_keep_their_order(monkeypatch):
    monkeypatch.setattr('mmdetlike.structures.mask.segmentation._BATCH', 2)
    values = [[np.array(SQUARE) + step] for step in range(5)]
    masks = [segmentation.mask for segmentation in read_segmentations(values, [(HEIGHT, WIDTH)] * 5)]
    assert masks == [[[number + step for number in SQUARE]] for step in range(5)]
    assert list(read_segmentations([], [])) == []
