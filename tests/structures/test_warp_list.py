"""Maps that are kept, applied again and undone."""

import numpy as np
import pytest

from mmdetlike.datasets.transforms import PackDetInputs, RecordWarps
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures import HorizontalBoxes, Warp, WarpList

SIZE = (20, 30)


def maps():
    return [Warp.flip(SIZE), Warp.window(SIZE, -2, -3, 26, 40), Warp.resize((26, 40), (52, 80))]


def test_maps_are_applied_in_order_and_undone_in_reversed_order():
    warps = WarpList(maps())
    mask = np.zeros(SIZE, np.uint8)
    mask[4:9, 6:14] = 1
    moved = warps.label_map(mask, fill=0)
    assert moved.shape == (52, 80)
    assert np.array_equal(warps.inverse.label_map(moved, fill=0), mask)
    points = np.array([[6.0, 4], [14, 9]])
    np.testing.assert_allclose(warps.inverse.points(warps.points(points)), points)
    np.testing.assert_allclose(warps.points(points)[0], (warps.matrix @ [6, 4, 1])[:2])
    boxes = HorizontalBoxes([[6, 4, 14, 9]])
    assert warps.inverse.boxes(warps.boxes(boxes)).tensor.tolist() == boxes.tensor.tolist()
    image = np.arange(600, dtype=np.float32).reshape(SIZE)
    assert np.array_equal(WarpList(maps()[:2]).inverse.image(WarpList(maps()[:2]).image(image)), image)


def test_lists_are_joined():
    first, second, third = maps()
    joined = WarpList([first]) + WarpList([second])
    joined += [third]
    assert list(joined) == [first, second, third] and len(WarpList([first]) + []) == 1
    with pytest.raises(ValueError, match=r'= \(20, 30\) cannot follow one that leaves \(26, 40\)'):
        joined = WarpList([second]) + [first]


def test_a_pipeline_keeps_its_maps():
    steps = [
        dict(type='RandomFlip', prob=1.0),
        dict(type='Resize', scale=(60, 40)),
        dict(type='RandomCrop', crop_size=(32, 24), allow_negative_crop=True),
    ]
    mask = np.zeros(SIZE, np.uint8)
    mask[4:9, 6:14] = 1
    results = dict(img=np.repeat(mask[..., None], 3, axis=2) * 255, img_shape=SIZE)
    for step in [RecordWarps(), *map(TRANSFORMS.build, steps)]:
        results = step(results)
    assert len(results['warps']) == 3
    np.testing.assert_allclose(results['warps'].matrix, results['homography_matrix'])
    assert np.array_equal(results['warps'].image(mask * 255), results['img'][..., 0])
    sample = PackDetInputs(meta_keys=('warps',))(results)['data_samples']
    assert sample.warps.inverse.label_map(results['img'][..., 0], fill=0).shape == SIZE
