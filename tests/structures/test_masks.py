import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData

from mmdetlike.structures import BitmapMasks, PolygonMasks
from mmdetlike.structures.mask.polygon import clip_polygon, polygon_area

quick = settings(max_examples=25, deadline=None)
SIZE = (40, 50)


def rectangle(x1, y1, x2, y2):
    return np.array([x1, y1, x2, y1, x2, y2, x1, y2], dtype=np.float64)


@pytest.fixture
def polygons():
    return PolygonMasks([[rectangle(5, 6, 20, 30)], [rectangle(0, 0, 10, 10), rectangle(30, 20, 50, 40)]], *SIZE)


@pytest.fixture(params=['polygon', 'bitmap'])
def masks(request, polygons):
    return polygons if request.param == 'polygon' else polygons.to_bitmap()


def boxes(masks):
    return masks.get_bboxes().tensor.tolist()


def test_areas_and_boxes(masks):
    assert masks.areas.tolist() == [360, 500]
    assert boxes(masks) == [[5, 6, 20, 30], [0, 0, 50, 40]]


def test_empty_masks_have_zero_boxes():
    assert boxes(PolygonMasks([[]], *SIZE)) == boxes(BitmapMasks(np.zeros((1, *SIZE)), *SIZE)) == [[0] * 4]
    assert PolygonMasks([[]], *SIZE).to_ndarray().sum() == 0


def test_index_and_join(masks):
    assert len(masks[0]) == len(masks[np.array([True, False])]) == len(masks[torch.tensor([0])]) == len(masks[:1]) == 1
    assert len(masks[[]]) == 0
    assert [m.areas.item() for m in masks] == [360, 500]
    assert type(masks).cat([masks, masks[1]]).areas.tolist() == [360, 500, 500]
    kept = InstanceData(masks=masks)[torch.tensor([False, True])]
    assert kept.masks.areas.tolist() == [500]


def test_geometry(masks):
    assert boxes(masks.resize((80, 100))) == [[10, 12, 40, 60], [0, 0, 100, 80]]
    assert boxes(masks.flip()) == [[30, 6, 45, 30], [0, 0, 50, 40]]
    assert boxes(masks.flip('vertical'))[0] == [5, 10, 20, 34]
    assert boxes(masks.pad((60, 60)))[1] == [0, 0, 50, 40]
    assert boxes(masks.crop(np.array([10, 10, 35, 40]))) == [[0, 0, 10, 20], [20, 10, 25, 30]]
    assert boxes(masks.expand(100, 100, 7, 3))[0] == [8, 13, 23, 37]
    assert boxes(masks.translate(SIZE, 35))[0] == [40, 6, 50, 30]
    assert boxes(masks.translate(SIZE, -10, 'vertical'))[0] == [5, 0, 20, 20]
    assert boxes(masks.rescale(2))[0] == [10, 12, 40, 60]
    assert (masks.rescale((100, 60)).height, masks.rescale((100, 60)).width) == (60, 75)
    assert boxes(masks.rotate(SIZE, 180))[0] == pytest.approx([30, 10, 45, 34], abs=1e-3)
    assert boxes(masks[0].shear((40, 90), 1.0))[0] == pytest.approx([11, 6, 50, 30], abs=1)


def test_rotation_is_clockwise(masks):
    rotated = boxes(masks[0].rotate((50, 50), 90, center=(20, 20)))[0]
    assert rotated == pytest.approx([10, 5, 34, 20], abs=1e-3)


def test_flip_twice_is_identity(masks):
    for direction in ('horizontal', 'vertical', 'diagonal'):
        twice = masks.flip(direction).flip(direction)
        assert np.array_equal(twice.to_ndarray(), masks.to_ndarray())


@quick
@given(st.integers(0, 2**31), st.integers(10, 90), st.integers(10, 90))
def test_polygons_and_bitmaps_agree_after_a_resize(seed, height, width):
    np.random.seed(seed)
    polygons = PolygonMasks.random(2, 60, 60)
    resized = polygons.resize((height, width))
    difference = resized.to_ndarray() != polygons.to_bitmap().resize((height, width)).to_ndarray()
    # Only pixels along the outline may differ.
    outline = 4 * (height + width)
    assert difference.sum(axis=(1, 2)).max() <= 0.3 * outline + 10
    assert resized.areas == pytest.approx(polygons.areas * height * width / 3600)


@quick
@given(st.integers(0, 2**31), st.integers(-20, 30), st.integers(-20, 30), st.integers(5, 60))
def test_clipped_polygons_have_the_area_that_is_inside(seed, x0, y0, side):
    shapely = pytest.importorskip('shapely')
    np.random.seed(seed)
    star = PolygonMasks.random(1, 60, 60, n_verts=7).masks[0][0].reshape(-1, 2)
    clipped = clip_polygon(star - (x0, y0), (side, side))
    inside = shapely.Polygon(star).buffer(0).intersection(shapely.box(x0, y0, x0 + side, y0 + side)).area
    if shapely.Polygon(star).is_valid:
        assert polygon_area(clipped.ravel()) == pytest.approx(inside, abs=1e-6)
    assert np.all(clipped >= -1e-9)
    assert np.all(clipped <= side + 1e-9)


def roi_align_by_hand(mask, box, size):
    """Bilinear samples at the centres of a regular grid in each bin, averaged."""
    x1, y1, x2, y2 = box
    bin_h, bin_w = (y2 - y1) / size[0], (x2 - x1) / size[1]
    ny, nx = int(np.ceil(bin_h)), int(np.ceil(bin_w))
    out = np.zeros(size)
    for i, j in np.ndindex(*size):
        for u, v in np.ndindex(ny, nx):
            y, x = y1 + bin_h * (i + (u + 0.5) / ny) - 0.5, x1 + bin_w * (j + (v + 0.5) / nx) - 0.5
            if -1 <= y <= mask.shape[0] and -1 <= x <= mask.shape[1]:
                y, x = min(max(y, 0), mask.shape[0] - 1), min(max(x, 0), mask.shape[1] - 1)
                top, left = int(y), int(x)
                bottom, right = min(top + 1, mask.shape[0] - 1), min(left + 1, mask.shape[1] - 1)
                fy, fx = y - top, x - left
                out[i, j] += (1 - fy) * ((1 - fx) * mask[top, left] + fx * mask[top, right])
                out[i, j] += fy * ((1 - fx) * mask[bottom, left] + fx * mask[bottom, right])
    return out / (ny * nx)


@quick
@given(st.integers(0, 2**31), st.floats(-5, 30), st.floats(-5, 30), st.floats(0.5, 40), st.floats(0.5, 40))
def test_crop_and_resize_of_bitmaps_is_roi_align(seed, x, y, w, h):
    np.random.seed(seed)
    masks = BitmapMasks.random(2, 20, 30)
    box = np.array([[x, y, x + w, y + h]])
    cut = masks.crop_and_resize(box, (5, 7), np.array([1]), binarize=False).masks[0]
    assert cut == pytest.approx(roi_align_by_hand(masks.masks[1], box[0], (5, 7)), abs=1e-4)


def test_crop_and_resize_agrees_between_kinds(polygons):
    rois, inds = torch.tensor([[5.0, 6, 20, 30], [0, 0, 50, 40], [10, 6, 40, 36]]), torch.tensor([0, 1, 0])
    from_polygons = polygons.crop_and_resize(rois, (28, 28), inds).to_ndarray()
    from_bitmaps = polygons.to_bitmap().crop_and_resize(rois, (28, 28), inds).to_ndarray()
    assert from_bitmaps.dtype == np.uint8
    assert from_bitmaps[0].min() == 1
    assert (from_polygons != from_bitmaps).mean() < 0.03
    assert len(polygons.crop_and_resize(rois[:0], (28, 28), inds[:0])) == 0
    assert polygons.to_bitmap().crop_and_resize(rois[:0], (28, 28), inds[:0]).masks.shape == (0, 28, 28)


def test_no_masks_at_all():
    for masks in (BitmapMasks([], *SIZE), PolygonMasks([], *SIZE)):
        assert masks.to_tensor(torch.bool, 'cpu').shape == (0, *SIZE)
        assert masks.flip().resize((10, 10)).crop([0, 0, 5, 5]).to_ndarray().shape == (0, 5, 5)
        assert masks.get_bboxes().shape == (0, 4)
        assert masks.areas.shape == (0,)


def test_pad_value_fills_bitmaps(polygons):
    padded = polygons.to_bitmap().pad((41, 50), pad_val=1)
    assert padded.masks[:, 40].min() == 1


def test_wrong_masks_are_rejected():
    with pytest.raises(ValueError, match=r'\(n, 40, 50\).*\(1, 50, 40\)'):
        BitmapMasks(np.zeros((1, 50, 40)), *SIZE)
    with pytest.raises(ValueError, match='flat list'):
        PolygonMasks([[np.zeros(5)]], *SIZE)
    with pytest.raises(ValueError, match="'sideways'"):
        BitmapMasks.random(1, *SIZE).translate(SIZE, 1, 'sideways')
    with pytest.raises(ValueError, match='nearest'):
        BitmapMasks.random(1, *SIZE).crop_and_resize(np.zeros((0, 4)), (2, 2), [], interpolation='nearest')
