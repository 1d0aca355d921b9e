"""Transforms that configs of OpenMMLab's toolbox name beside the common ones."""

import sys

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.transforms import (
    AutoAugment,
    CenterCrop,
    Compose,
    CutOut,
    FixScaleResize,
    ImageToTensor,
    InferencerLoader,
    InstaBoost,
    LoadAnnotations,
    LoadImageFromWebcam,
    LoadMultiChannelImageFromFiles,
    Normalize,
    RandAugment,
    RandomFlip,
    RandomGrayscale,
    Resize,
    ResizeShortestEdge,
    ToTensor,
    Transpose,
)
from mmdetlike.datasets.transforms.similar_places import draw_similar_shift
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS
from tests.datasets.test_transforms_geometry import make_sample


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_policies_are_chosen_by_their_probability():
    flip = [dict(type='RandomFlip', prob=1.0)]
    keep = [dict(type='RandomFlip', prob=0.0)]
    assert all(AutoAugment([flip, keep], prob=[1, 0])(make_sample())['flip'] for _ in range(20))


@pytest.mark.parametrize('transform', [AutoAugment, RandAugment])
def test_policies_of_the_papers_keep_samples_whole(transform):
    augment = transform()
    for seed in range(40):
        np.random.seed(seed)
        results = augment(make_sample())
        count = len(results['gt_bboxes_labels'])
        assert results['img'].shape == (60, 80, 3)
        assert len(results['gt_bboxes']) == len(results['gt_masks']) == len(results['gt_keypoints']) == count


def test_rand_augment_takes_its_probabilities_by_either_name():
    never = [dict(type='RandomFlip', prob=0.0)]
    flip = [dict(type='RandomFlip', prob=1.0)]
    assert RandAugment([flip, never], 1, prob=[1, 0])(make_sample())['flip']
    assert RandAugment([flip, never], 1, aug_prob=[1, 0])(make_sample())['flip']
    with pytest.raises(ConfigError, match=r'got both: \[1\] and \[1\]'):
        RandAugment([flip], prob=[1], aug_prob=[1])


@pytest.mark.parametrize(
    ('arguments', 'hole'), [(dict(cutout_shape=(8, 4)), (8, 4)), (dict(cutout_ratio=[(0.1, 0.2)]), (4, 6))]
)
def test_cut_out_fills_rectangles(arguments, hole):
    width, height = hole
    sizes = set()
    for seed in range(40):
        np.random.seed(seed)
        sample = {'img': np.zeros((30, 40, 3), np.uint8)}
        ys, xs = np.nonzero(CutOut(1, fill_in=(1, 2, 3), **arguments)(sample)['img'][..., 0])
        sizes.add((np.ptp(xs) + 1, np.ptp(ys) + 1))
        assert len(xs) == (np.ptp(xs) + 1) * (np.ptp(ys) + 1)
    assert max(sizes) == (width, height)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(), 'either cutout_shape or cutout_ratio, got None and None'),
        (dict(cutout_ratio=(2, 1)), r'cutout_ratio must be \(w, h\), two numbers up to 1'),
        (dict(cutout_shape=(2, 1, 1)), r'cutout_shape must be \(w, h\), two numbers of pixels'),
    ],
)
def test_cut_out_tells_wrong_sizes(arguments, message):
    with pytest.raises(ConfigError, match=message):
        CutOut(1, **arguments)


def test_cut_out_needs_a_color_of_the_channels_of_the_picture():
    with pytest.raises(ConfigError, match=r'fill_in=\(0, 0, 0\) of CutOut has 3 numbers.*\(8, 8, 4\)'):
        CutOut(1, (2, 2))({'img': np.zeros((8, 8, 4), np.uint8)})


def test_corrupt_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'imagecorruptions', None)
    with pytest.raises(ConfigError, match=r'Corrupt needs imagecorruptions.*pip install imagecorruptions'):
        TRANSFORMS.build(dict(type='Corrupt', corruption='snow'))


def test_corrupt_changes_pixels_only():
    pytest.importorskip('imagecorruptions')
    results = TRANSFORMS.build(dict(type='Corrupt', corruption='motion_blur', severity=3))(make_sample())
    assert results['img'].shape == (60, 80, 3)
    assert results['img'].dtype == np.uint8
    assert not np.array_equal(results['img'], make_sample()['img'])
    with pytest.raises(ConfigError, match="corruption='rain' is unknown; expected one of gaussian_noise"):
        TRANSFORMS.build(dict(type='Corrupt', corruption='rain'))


def test_fix_scale_resize_cuts_what_resize_rounds():
    img = np.zeros((337, 500, 3), np.uint8)  # 800 / 337 * 500 is 1186.9
    assert Resize((1333, 800), keep_ratio=True)({'img': img})['img'].shape[:2] == (800, 1187)
    assert FixScaleResize((1333, 800), keep_ratio=True)({'img': img})['img'].shape[:2] == (800, 1186)
    assert FixScaleResize((100, 50))({'img': img})['img'].shape[:2] == (50, 100)


@pytest.mark.parametrize(('max_size', 'shape'), [(None, (100, 200)), (150, (75, 150)), (1000, (100, 200))])
def test_resize_shortest_edge(max_size, shape):
    step = TRANSFORMS.build(dict(type='ResizeShortestEdge', scale=100, max_size=max_size, backend='pillow'))
    results = step({'img': np.zeros((50, 100, 3), np.uint8)})
    assert results['img'].shape[:2] == results['img_shape'] == shape
    with pytest.raises(ConfigError, match='positive'):
        ResizeShortestEdge(0)


def test_center_crop():
    img = noise(60, 80, 3)
    assert np.array_equal(CenterCrop((40, 20))({'img': img})['img'], img[20:40, 20:60])
    assert CenterCrop(70)({'img': img})['img'].shape == (60, 70, 3)
    padded = CenterCrop(70, auto_pad=True, pad_cfg=dict(type='Pad', pad_val=9))({'img': img})['img']
    assert padded.shape == (70, 70, 3)
    assert np.all(padded[60:] == 9)
    with pytest.raises(ConfigError, match=r'crop_size must be .*got \(0, 5\)'):
        CenterCrop((0, 5))


def test_normalize_does_what_a_data_preprocessor_would():
    img = noise(4, 5, 3)
    results = Normalize([1, 2, 3], [2, 4, 8])({'img': img})
    assert results['img'] == pytest.approx((img[..., ::-1] - np.array([1, 2, 3])) / np.array([2, 4, 8]))
    assert results['img'].dtype == np.float32
    with pytest.raises(ConfigError, match=r'3 numbers in mean and std, but the picture None has 1 channels'):
        Normalize([1, 2, 3], [2, 4, 8])({'img': img[..., 0]})


def test_random_grayscale_is_the_gray_of_opencv():
    img = noise(6, 7, 3)
    expected = cv2.cvtColor(img, cv2.COLOR_BGR2GRAY).astype(int)
    gray = RandomGrayscale(1.0)({'img': img})['img']
    assert gray.shape == (6, 7, 1)
    assert np.abs(gray[..., 0] - expected).max() <= 1
    same = RandomGrayscale(1.0, keep_channels=True)({'img': img})['img']
    assert same.shape == (6, 7, 3)
    assert np.array_equal(same[..., 0], same[..., 2])
    assert RandomGrayscale(0.0)({'img': img})['img'] is img


def test_steps_to_tensors():
    pipeline = Compose(
        [Transpose(['seg'], (1, 0)), ToTensor(['seg', 'label']), ImageToTensor(['img']), RandomFlip(prob=None)]
    )
    results = pipeline.transforms.transforms[0]({'seg': np.zeros((2, 3)), 'label': 4, 'img': noise(2, 3, 3)})
    for step in pipeline.transforms.transforms[1:3]:
        results = step(results)
    assert results['seg'].shape == (3, 2)
    assert results['label'] == torch.tensor(4)
    assert results['img'].shape == (3, 2, 3)
    with pytest.raises(ConfigError, match=r'has 2 axes, but img of None is of shape \(2, 3, 3\)'):
        Transpose(['img'], (1, 0))({'img': noise(2, 3, 3)})
    with pytest.raises(ConfigError, match=r'each axis from 0 on once, got \(1, 1\)'):
        Transpose(['img'], (1, 1))
    with pytest.raises(ConfigError, match='ToTensor cannot make a tensor of name, which is str'):
        ToTensor(['name'])({'name': 'x'})
    with pytest.raises(ConfigError, match="keys must be a list of names, got the text 'img'"):
        ToTensor('img')


def test_channels_of_several_files(tmp_path):
    planes = noise(6, 7, 5)
    paths = [str(tmp_path / f'{index}.png') for index in range(5)]
    for index, path in enumerate(paths):
        cv2.imwrite(path, planes[..., index])
    results = LoadMultiChannelImageFromFiles()({'img_path': paths})
    assert np.array_equal(results['img'], planes)
    assert results['img_path'] == paths
    assert results['ori_shape'] == (6, 7)
    cv2.imwrite(paths[1], planes[:4, :, 0])
    with pytest.raises(ImageError, match=r'1\.png.*its \(h, w\) is \(4, 7\), but \(6, 7\) that of .*0\.png'):
        LoadMultiChannelImageFromFiles()({'img_path': paths})
    with pytest.raises(ConfigError, match='needs a list of paths'):
        LoadMultiChannelImageFromFiles()({'img_path': paths[0]})


def test_pictures_in_whatever_form(tmp_path):
    img = noise(6, 7, 3)
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), img)
    for given in (path, str(path), path.read_bytes(), img, {'img': img}, {'img_path': str(path)}):
        results = InferencerLoader()(given)
        assert np.array_equal(results['img'], img)
        assert results['ori_shape'] == (6, 7)
    assert LoadImageFromWebcam()({'img': img})['img_shape'] == (6, 7)
    for frame, told in ((img[:0], r'\(0, 7, 3\)'), (img[0, 0], r'\(3,\)'), ('camera', 'str')):
        with pytest.raises(ImageError, match=rf'given as an array: expected a picture .*, got .*{told}'):
            LoadImageFromWebcam()({'img': frame})
    with pytest.raises(ConfigError, match='a path, the bytes of a file, an array or a dict, got int'):
        InferencerLoader()(5)


def scene(as_runs=False):
    """A white square on gray, annotated with its corner and its center."""
    img = np.full((100, 120, 3), 90, np.uint8)
    img[40:60, 50:80] = 255
    mask = [[50.0, 40, 80, 40, 80, 60, 50, 60]]
    if as_runs:
        mask = coco_mask.frPyObjects(mask, 100, 120)[0]
    keypoints = [[50.0, 40.0, 2], [80.0, 40.0, 2], [65.0, 50.0, 2]]
    instance = dict(bbox=[50.0, 40, 80, 60], bbox_label=1, ignore_flag=0, mask=mask, keypoints=keypoints)
    return dict(img=img, img_shape=(100, 120), ori_shape=(100, 120), instances=[instance], flip_indices=[1, 0, 2])


@pytest.mark.parametrize('as_runs', [False, True])
@pytest.mark.parametrize('action', ['normal', 'horizontal', 'vertical'])
def test_insta_boost_moves_objects_with_their_annotations(action, as_runs):
    step = InstaBoost([action], [1], dx=3, dy=2, theta=(-20, 20), color_prob=0, aug_ratio=1)
    load = LoadAnnotations(with_mask=True, with_keypoints=True)
    for seed in range(10):
        np.random.seed(seed)
        results = load(step(scene(as_runs)))
        shown = results['img'][..., 0] > 180
        mask = results['gt_masks'].masks[0].astype(bool)
        assert (shown ^ mask).sum() <= 60  # the outline
        ys, xs = np.nonzero(mask)
        assert results['gt_bboxes'].numpy()[0] == pytest.approx([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        points = results['gt_keypoints'][0]
        assert points[2, :2] == pytest.approx([xs.mean() + 0.5, ys.mean() + 0.5], abs=0.5)
        # left stays left, whether the object is mirrored or not
        assert points[0, 0] < points[1, 0] or action == 'vertical'
    assert np.abs(results['img'][~shown & ~mask].astype(int) - 90).max() < 100


def test_insta_boost_draws_places_with_surroundings_that_look_alike():
    half_dark = scene()
    half_dark['img'][:, 80 + 10 :] = 10
    step = InstaBoost(
        ['normal'], [1], dx=100, dy=100, theta=(0, 0), scale=(1, 1), color_prob=0, hflag=True, aug_ratio=1
    )
    np.random.seed(0)
    boxes = [step({**half_dark, 'instances': [*half_dark['instances']]})['instances'][0]['bbox'] for _ in range(60)]
    assert np.mean([box[2] <= 92 for box in boxes]) > 0.85  # a third of the places would be on the dark
    assert np.std([box[0] for box in boxes]) > 10 and np.std([box[1] for box in boxes]) > 10


def test_an_object_as_large_as_the_picture_has_no_other_place():
    np.random.seed(0)
    assert draw_similar_shift(np.zeros((30, 40, 3), np.uint8), np.ones((30, 40), bool)) == (0, 0)


def test_insta_boost_leaves_what_it_should():
    skip = InstaBoost(['skip'], [1], aug_ratio=1)(scene())
    assert np.array_equal(skip['img'], scene()['img'])
    bare = scene()
    bare['instances'] = [{key: value for key, value in bare['instances'][0].items() if key != 'mask'}]
    assert np.array_equal(InstaBoost(aug_ratio=1)(bare)['img'], scene()['img'])
    assert InstaBoost(aug_ratio=0)(scene())['instances'] == scene()['instances']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(action_candidate=['fly']), "some of normal, horizontal, vertical, skip, got \\['fly'\\]"),
        (dict(action_prob=[1, 1, 0]), r'3 numbers that sum to 1, got \[1, 1, 0\]'),
        (dict(dx=0), 'must be positive'),
    ],
)
def test_insta_boost_tells_wrong_settings(arguments, message):
    with pytest.raises(ConfigError, match=message):
        InstaBoost(**arguments)
