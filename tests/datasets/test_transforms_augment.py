"""What automatic augmentation chooses from, erasing, several views of a sample, and pictures without annotations."""

import math

import numpy as np
import pytest
import torch

from mmdetlike.datasets.transforms import (
    AutoContrast,
    Brightness,
    Color,
    ColorTransform,
    Contrast,
    Equalize,
    FilterAnnotations,
    Invert,
    LoadEmptyAnnotations,
    MultiBranch,
    PackDetInputs,
    Posterize,
    RandAugment,
    RandomErasing,
    RandomOrder,
    Rotate,
    Sharpness,
    ShearX,
    ShearY,
    Solarize,
    SolarizeAdd,
    TranslateX,
    TranslateY,
)
from mmdetlike.datasets.transforms.erasing import hidden_shares
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures import BitmapMasks, HorizontalBoxes

COLORS = [
    AutoContrast, Brightness, Color, ColorTransform, Contrast, Equalize, Invert, Posterize, Sharpness, Solarize,
    SolarizeAdd,
]  # fmt: skip
MOVES = [Rotate, ShearX, ShearY, TranslateX, TranslateY]


def picture(height=20, width=30, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def enhanced(transform, img):
    return transform(dict(img=img))['img']


def fixed(kind, magnitude):
    return kind(min_mag=magnitude, max_mag=magnitude)


@pytest.mark.parametrize('kind', [Color, Brightness, Contrast, Sharpness])
def test_a_magnitude_of_one_changes_nothing(kind):
    img = picture()
    np.testing.assert_array_equal(enhanced(fixed(kind, 1.0), img), img)
    assert (enhanced(fixed(kind, 1.9), img) != img).any()


def test_colors_by_their_numbers():
    img = np.array([[[10, 100, 200], [130, 128, 127]]], np.uint8)
    assert enhanced(fixed(Brightness, 0.5), img).tolist() == [[[5, 50, 100], [65, 64, 63]]]
    assert enhanced(fixed(Solarize, 128), img).tolist() == [[[10, 100, 55], [125, 127, 127]]]
    assert enhanced(fixed(SolarizeAdd, 50), img).tolist() == [[[60, 150, 200], [130, 128, 177]]]
    assert enhanced(fixed(Posterize, 1), img).tolist() == [[[0, 0, 128], [128, 128, 0]]]
    assert enhanced(Invert(), img).tolist() == [[[245, 155, 55], [125, 127, 128]]]
    assert enhanced(AutoContrast(), img).tolist() == [[[0, 0, 255], [255, 255, 0]]]
    # luminance of red weighs 0.299: pixels are BGR
    assert enhanced(fixed(Color, 0.0), np.array([[[0, 0, 200]]], np.uint8)).tolist() == [[[60, 60, 60]]]


@pytest.mark.parametrize('kind', COLORS)
def test_colors_keep_the_kind_of_an_image(kind):
    img = picture()
    for given in (img, img.astype(np.float32)):
        changed = enhanced(kind(), given.copy())
        assert changed.dtype == given.dtype and changed.shape == given.shape
    np.testing.assert_array_equal(enhanced(kind(prob=0.0), img), img)
    with pytest.raises(ConfigError, match=rf'{kind.__name__} changes colors, .* \(h, w, 3\)'):
        kind()(dict(img=img[..., :2], img_path='a.png'))


def test_levels_count_ten_steps():
    img = np.full((1, 1, 3), 100, np.uint8)
    assert [int(enhanced(Brightness(level=level), img)[0, 0, 0]) for level in (0, 5, 10)] == [10, 100, 190]
    with pytest.raises(ConfigError, match='level must lie between 0 and 10, or be None for a random one, got 11'):
        Brightness(level=11)


def located(kind, **kwargs):
    """A bright pixel at (column 20, row 5) and a box around it, moved."""
    img = np.zeros((20, 30, 3), np.uint8)
    img[5, 20] = 255
    return kind(**kwargs)(dict(img=img, gt_bboxes=HorizontalBoxes([[20, 5, 21, 6]])))


@pytest.mark.parametrize(
    'kind, magnitude, expected',
    [
        (TranslateX, 0.1, (20 + 3, 5)),
        (TranslateY, 0.2, (20, 5 + 4)),
        (ShearX, 45, (20 + 5, 5)),  # rows go right by their distance from the top
        (Rotate, 90, (15 + 4, 10 + 5)),  # clockwise about (15, 10)
        (Rotate, 180, (30 - 20 - 1, 20 - 5 - 1)),
    ],
)
def test_moves_by_their_numbers(kind, magnitude, expected):
    results = located(kind, min_mag=magnitude, max_mag=magnitude, reversal_prob=0.0, img_border_value=0)
    x1, y1, x2, y2 = results['gt_bboxes'].tensor[0].tolist()
    assert x1 - 1e-3 <= expected[0] <= x2 and y1 - 1e-3 <= expected[1] <= y2
    row, column = np.unravel_index(results['img'][..., 0].argmax(), (20, 30))
    assert (column, row) == expected
    assert results['homography_matrix'] @ [20.5, 5.5, 1] == pytest.approx([(x1 + x2) / 2, (y1 + y2) / 2, 1])


def test_moves_go_both_ways():
    shifts = {
        round(float(located(TranslateX, min_mag=0.1, max_mag=0.1)['homography_matrix'][0, 2]), 6) for _ in range(40)
    }
    assert shifts == {3.0, -3.0}
    assert 'homography_matrix' not in located(TranslateX, prob=0.0)


def test_largest_magnitudes():
    assert [kind().max_mag for kind in MOVES] == [30.0, 30.0, 30.0, 0.1, 0.1]
    assert ShearX(1.0, None, 0.0, 5.0).max_mag == 5.0
    shear = located(ShearY, level=10, reversal_prob=0.0)['homography_matrix']
    assert shear[1, 0] == pytest.approx(math.tan(math.radians(30)))


def test_boxes_that_leave_the_image_are_dropped():
    assert len(located(TranslateX, min_mag=0.5, max_mag=0.5, reversal_prob=0.0)['gt_bboxes']) == 0


def append(name):
    return lambda results: {**results, 'done': results['done'] + name}


def test_random_order_applies_all():
    orders = {RandomOrder([append(name) for name in 'abc'])(dict(done=''))['done'] for _ in range(100)}
    assert orders == {'abc', 'acb', 'bac', 'bca', 'cab', 'cba'}
    assert RandomOrder([lambda results: None, append('a')])(dict(done='')) is None


def test_rand_augment_applies_so_many():
    augment = RandAugment([[append('a'), append('b')], append('c')], aug_num=2)
    assert {augment(dict(done=''))['done'] for _ in range(60)} == {'abab', 'abc', 'cab', 'cc'}
    assert RandAugment([append('a'), append('c')], aug_num=1, aug_prob=[0, 1])(dict(done=''))['done'] == 'c'
    with pytest.raises(ConfigError, match='aug_num must be 1 at least, got 0'):
        RandAugment([append('a')], aug_num=0)


# -- erasing -----------------------------------------------------------------------------------------------------------


def test_erasing_fills_all_that_is_in_a_sample():
    np.random.seed(0)
    erase = RandomErasing(n_patches=3, ratio=0.3, img_border_value=(1, 2, 3))
    results = dict(
        img=np.full((40, 40, 3), 200, np.uint8),
        gt_bboxes=HorizontalBoxes([[0, 0, 40, 40]]),
        gt_masks=BitmapMasks([np.ones((40, 40), np.uint8)], 40, 40),
        gt_seg_map=np.zeros((40, 40), np.uint8),
    )
    results = erase(results)
    hidden = (results['img'] == (1, 2, 3)).all(-1)
    assert 0 < hidden.sum() <= 3 * 12 * 12
    np.testing.assert_array_equal(results['img'][~hidden], np.full((int((~hidden).sum()), 3), 200))
    np.testing.assert_array_equal(results['gt_masks'].to_ndarray()[0] == 0, hidden)
    np.testing.assert_array_equal(results['gt_seg_map'] == 255, hidden)
    assert len(results['gt_bboxes']) == 1


def test_mostly_hidden_boxes_are_dropped():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 20, 10], [30, 30, 35, 35]])
    shares = hidden_shares(HorizontalBoxes(boxes), [(0, 0, 10, 10), (5, 0, 10, 10)], (40, 40))
    assert shares.tolist() == [1.0, 0.5, 0.0]
    results = dict(img=picture(40, 40), gt_bboxes=HorizontalBoxes([[0.0, 0, 40, 40]]))
    results['gt_bboxes_labels'] = np.array([3])
    everything = RandomErasing(n_patches=60, ratio=1.0)(results)
    assert len(everything['gt_bboxes']) == 0 and len(everything['gt_bboxes_labels']) == 0


def test_the_number_of_patches_varies():
    sizes = {
        int((RandomErasing((0, 2), 0.1)(dict(img=np.zeros((50, 50), np.uint8)))['img'] > 0).sum()) for _ in range(50)
    }
    assert 0 in sizes and max(sizes) > 25


@pytest.mark.parametrize('kwargs', [dict(n_patches=(3, 1), ratio=0.1), dict(n_patches=1, ratio=(0, 1.5))])
def test_wrong_ranges_are_refused(kwargs):
    with pytest.raises(ConfigError, match='must be a number or a range, 0 <= lowest <= highest'):
        RandomErasing(**kwargs)


# -- views and pictures without annotations ----------------------------------------------------------------------------


def unlabeled(height=20, width=30):
    img = picture(height, width)
    return dict(img=img, img_shape=img.shape[:2], ori_shape=img.shape[:2], img_path='a.jpg', instances=[dict()])


def test_empty_annotations():
    results = LoadEmptyAnnotations(with_mask=True, with_seg=True)(unlabeled())
    assert results['gt_bboxes'].tensor.shape == (0, 4) and len(results['gt_masks']) == 0
    assert results['gt_seg_map'].shape == (20, 30) and bool((results['gt_seg_map'] == 255).all())
    filtered = FilterAnnotations(min_gt_bbox_wh=(1e-2, 1e-2))(LoadEmptyAnnotations()(unlabeled()))
    sample = PackDetInputs()(filtered)['data_samples']
    assert len(sample.gt_instances.bboxes) == len(sample.gt_instances.labels) == len(sample.ignored_instances) == 0


def test_a_view_for_each_branch():
    keys = ('img_path', 'homography_matrix')
    branch = MultiBranch(
        branch_field=['sup', 'unsup_teacher', 'unsup_student'],
        unsup_teacher=dict(type='PackDetInputs', meta_keys=keys),
        unsup_student=[dict(type='RandomFlip', prob=1.0), dict(type='PackDetInputs', meta_keys=keys)],
    )
    original = LoadEmptyAnnotations()(unlabeled())
    before = original['img'].copy()
    views = branch(original)
    assert list(views['inputs']) == list(views['data_samples']) == ['sup', 'unsup_teacher', 'unsup_student']
    assert views['inputs']['sup'] is None and views['data_samples']['sup'] is None
    assert torch.equal(views['inputs']['unsup_teacher'].flip(2), views['inputs']['unsup_student'])
    np.testing.assert_array_equal(original['img'], before)
    matrices = [views['data_samples'][name].homography_matrix.tolist() for name in ('unsup_teacher', 'unsup_student')]
    assert matrices == [np.eye(3).tolist(), [[-1, 0, 30], [0, 1, 0], [0, 0, 1]]]


def test_a_branch_that_gives_up_gives_up_the_sample():
    assert MultiBranch(['a', 'b'], a=lambda results: None, b=dict(type='PackDetInputs'))(unlabeled()) is None


@pytest.mark.parametrize('pipelines, named', [(dict(sub=[]), 'sub'), ({}, 'no branch')])
def test_branches_are_checked(pipelines, named):
    with pytest.raises(
        ConfigError, match=f'MultiBranch has pipelines for {named}; expected some of branch_field, sup, un'
    ):
        TRANSFORMS.build(dict(type='MultiBranch', branch_field=['sup', 'unsup'], **pipelines))
