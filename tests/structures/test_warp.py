import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData

from mmdetlike.structures import HorizontalBoxes, Warp, map_back, project_boxes

quick = settings(max_examples=25, deadline=None)
side = st.integers(8, 60)
ROTATED = np.array([[0.9, -0.4, 8], [0.4, 0.9, -3], [0, 0, 1.0]])


@st.composite
def warps(draw):
    old = draw(side), draw(side)
    kind = draw(st.sampled_from(['resize', 'flip', 'window', 'affine']))
    if kind == 'resize':
        return Warp.resize(old, (draw(side), draw(side)))
    if kind == 'flip':
        return Warp.flip(old, draw(st.sampled_from(['horizontal', 'vertical', 'diagonal'])))
    if kind == 'window':
        return Warp.window(old, draw(st.integers(-20, 30)), draw(st.integers(-20, 30)), draw(side), draw(side))
    return Warp.affine(ROTATED, (draw(side), draw(side)), old)


@quick
@given(warps())
def test_inverse_takes_points_back(warp):
    points = np.random.default_rng(0).uniform(-50, 100, (4, 5, 2))
    back = warp.inverse
    assert back.points(warp.points(points)) == pytest.approx(points, abs=1e-9)
    assert (back.size, back.source) == (warp.source, warp.size)
    assert back.label_map(warp.label_map(np.zeros(warp.source, np.uint8))).shape == warp.source


@pytest.mark.parametrize(
    'warp',
    [
        Warp.resize((40, 50), (60, 40)),
        Warp.resize((40, 50), (33, 70)),
        Warp.flip((40, 50), 'horizontal'),
        Warp.flip((40, 50), 'vertical'),
        Warp.flip((40, 50), 'diagonal'),
        Warp.window((40, 50), 7, -5, 50, 40),
        Warp.affine(ROTATED, (50, 60), (40, 50)),
        Warp.affine(np.array([[1, 0, 0], [0, 1, 0], [0.002, 0.001, 1]]), (40, 50), (40, 50)),
    ],
    ids=lambda warp: f'{warp.kind}-{warp.mode}',
)
def test_pixels_follow_points(warp):
    """A blurred spot moves where its centre moves."""
    height, width = warp.source
    ys, xs = np.mgrid[:height, :width] + 0.5
    spot = np.array([width * 0.5 + 0.7, height * 0.5 - 1.2])
    img = np.exp(-((xs - spot[0]) ** 2 + (ys - spot[1]) ** 2) / 8).astype(np.float32)
    moved = warp.image(img)
    ys, xs = np.mgrid[: warp.size[0], : warp.size[1]] + 0.5
    found = np.array([(moved * xs).sum(), (moved * ys).sum()]) / moved.sum()
    assert found == pytest.approx(warp.points(spot), abs=0.06)


def test_an_affine_map_by_whole_pixels_equals_a_window():
    img = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    shift = np.array([[1, 0, 4], [0, 1, -3], [0, 0, 1.0]])
    affine, window = Warp.affine(shift, (20, 30), (20, 30)), Warp.window((20, 30), -4, 3, 20, 30)
    assert np.array_equal(affine.image(img, (1, 2, 3)), window.image(img, (1, 2, 3)))
    assert np.array_equal(affine.label_map(img[..., 0], 9), window.label_map(img[..., 0], 9))


def test_an_affine_flip_equals_a_flip():
    img = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    flip = Warp.flip((20, 30), 'diagonal')
    assert np.array_equal(Warp.affine(flip.matrix, flip.size, flip.source).image(img), flip.image(img))


def test_an_affine_enlargement_equals_a_resize_away_from_the_border():
    img = np.random.default_rng(0).uniform(0, 255, (20, 30)).astype(np.float32)
    resize = Warp.resize((20, 30), (40, 60))
    affine = Warp.affine(resize.matrix, resize.size, resize.source)
    assert affine.image(img)[2:-2, 2:-2] == pytest.approx(resize.image(img)[2:-2, 2:-2], abs=0.02)


def test_projective_points():
    matrix = np.array([[1, 0, 0], [0, 1, 0], [0.1, 0, 1.0]])
    warp = Warp.affine(matrix, (10, 10), (10, 10))
    assert warp.points(np.array([10.0, 4.0])).tolist() == [5, 2]
    assert warp.image(np.full((10, 10), 7, np.uint8))[4, 2] == 7


@pytest.mark.parametrize('border', ['constant', 'edge', 'reflect', 'symmetric'])
def test_window_borders_are_those_of_numpy(border):
    img = np.arange(12, dtype=np.uint8).reshape(3, 4)
    warp = Warp.window((3, 4), -2, -1, 6, 8, border)
    assert np.array_equal(warp.image(img), np.pad(img, ((1, 2), (2, 2)), border))


def test_windows_fill_each_channel_and_may_miss_the_image():
    img = np.zeros((4, 5, 3), np.uint8)
    assert Warp.window((4, 5), -1, 0, 4, 6).image(img, (1, 2, 3))[0, 0].tolist() == [1, 2, 3]
    assert Warp.window((4, 5), 10, 0, 2, 2).image(img, 7).tolist() == np.full((2, 2, 3), 7).tolist()
    assert Warp.window((4, 5), 1, 1, 2, 2).image(img).shape == (2, 2, 3)


def test_labels_are_never_mixed():
    seg = np.random.default_rng(0).choice([3, 200, 255], (30, 30)).astype(np.uint8)
    for warp in (Warp.resize((30, 30), (47, 19)), Warp.affine(ROTATED, (40, 40), (30, 30))):
        assert set(np.unique(warp.label_map(seg, 3))) <= {3, 200, 255}


@pytest.mark.parametrize('dtype', [bool, np.int64, np.int32, np.uint16, np.uint8])
def test_label_maps_keep_their_dtype(dtype):
    seg = np.eye(8).astype(dtype)
    for warp in (Warp.resize((8, 8), (16, 16)), Warp.flip((8, 8)), Warp.window((8, 8), -1, 2, 8, 8)):
        moved = warp.label_map(seg, 0)
        assert moved.dtype == dtype
    assert Warp.resize((8, 8), (16, 16)).label_map(seg).sum() == 32


def test_a_lone_channel_stays():
    img = np.zeros((8, 9, 1), np.uint8)
    for warp in (Warp.resize((8, 9), (4, 4)), Warp.flip((8, 9)), Warp.window((8, 9), -1, 0, 9, 9)):
        assert warp.image(img).shape == (*warp.size, 1)


def test_resizing_masks_is_centred():
    seg = np.arange(6, dtype=np.uint8)[None].repeat(6, 0)
    assert Warp.resize((6, 6), (2, 2)).label_map(seg)[0].tolist() == [1, 4]


def test_predictions_come_back():
    resize, flip = Warp.resize((100, 200), (50, 80)), Warp.flip((50, 80))
    matrix = flip.matrix @ resize.matrix
    boxes = torch.tensor([[10.0, 20, 60, 90], [150, 5, 200, 100]])
    keypoints = np.array([[[10.0, 20, 2]], [[0, 0, 1]]], dtype=np.float32)
    moved = flip.points(resize.points(keypoints[..., :2]))
    instances = InstanceData(
        bboxes=project_boxes(boxes, matrix),
        keypoints=torch.from_numpy(np.concatenate([moved, keypoints[..., 2:]], -1)),
        labels=torch.tensor([3, 4]),
    )
    back = map_back(instances, matrix, ori_shape=(95, 200))
    assert torch.allclose(back.bboxes, torch.tensor([[10.0, 20, 60, 90], [150, 5, 200, 95]]), atol=1e-4)
    assert torch.allclose(back.keypoints, torch.from_numpy(keypoints), atol=1e-4)
    assert back.labels.tolist() == [3, 4]
    as_objects = map_back(InstanceData(bboxes=HorizontalBoxes(instances.bboxes)), matrix)
    assert torch.allclose(as_objects.bboxes.tensor, boxes, atol=1e-4)


def test_bad_warps_are_rejected():
    with pytest.raises(ValueError, match='cubicle'):
        Warp.resize((8, 8), (4, 4), 'cubicle')
    with pytest.raises(ValueError, match='positive'):
        Warp.resize((8, 8), (0, 4))
    with pytest.raises(ValueError, match=r'\(8, 8\).*\(9, 8\)'):
        Warp.flip((8, 8)).image(np.zeros((9, 8)))
    with pytest.raises(ValueError, match='3x3'):
        Warp.affine(np.eye(2), (8, 8), (8, 8))
