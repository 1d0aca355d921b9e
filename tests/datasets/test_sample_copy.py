"""Steps that declare that they never write into the images they are given, which spares copies of those."""

import copy

import numpy as np
import pytest

from mmdetlike.datasets import transforms
from mmdetlike.datasets.transforms.base import BaseTransform
from mmdetlike.datasets.transforms.sample_copy import copy_for
from mmdetlike.structures import BitmapMasks, HorizontalBoxes

SIZE = (40, 60)
STEPS = [
    transforms.Mosaic((60, 40)),
    transforms.CachedMosaic((60, 40), max_cached_images=4),
    transforms.MixUp((60, 40)),
    transforms.CachedMixUp((60, 40), max_cached_images=4),
    transforms.CopyPaste(),
    transforms.RandomAffine(),
    transforms.RandomShift(prob=1.0, max_shift_px=8),
    transforms.PhotoMetricDistortion(),
    transforms.YOLOXHSVRandomAug(),
    transforms.RandomFlip(prob=0.7, direction='horizontal'),
    transforms.Resize((60, 40)),  # the size that images have already
    transforms.Resize((33, 21)),
    transforms.FixShapeResize(30, 30),
    transforms.Pad(size_divisor=32),
    transforms.Expand(prob=1.0),
    transforms.RandomCrop((20, 30)),
    transforms.MinIoURandomCrop(),
    transforms.FilterAnnotations(min_gt_bbox_wh=(1, 1)),
    transforms.PackDetInputs(),
]


def make_sample(seed, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    img = rng.integers(0, 255, (*SIZE, 3)).astype(dtype)
    img.flags.writeable = False
    masks = np.zeros((2, *SIZE), np.uint8)
    masks[0, 4:20, 5:30] = 1
    masks[1, 20:38, 30:55] = 1
    return dict(
        img=img,
        img_shape=SIZE,
        ori_shape=SIZE,
        img_id=seed,
        img_path=f'{seed}.jpg',
        scale_factor=(1.0, 1.0),
        gt_bboxes=HorizontalBoxes(np.array([[5, 4, 30, 20], [30, 20, 55, 38]], np.float32)),
        gt_bboxes_labels=np.array([0, 1]),
        gt_ignore_flags=np.zeros(2, bool),
        gt_masks=BitmapMasks(masks, *SIZE),
    )


def declaring(cls=BaseTransform):
    """All classes of ours that declare it."""
    found = {cls} if vars(cls).get('keeps_images') else set()
    ours = [sub for sub in cls.__subclasses__() if sub.__module__.startswith('mmdetlike.')]
    return found.union(*map(declaring, ours))


def test_all_that_declare_it_are_tried_here():
    assert declaring() == {type(step) for step in STEPS}


@pytest.mark.filterwarnings('ignore:The given NumPy array is not writable')
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
@pytest.mark.parametrize('step', STEPS, ids=lambda step: type(step).__name__)
def test_images_are_not_written_to(step, dtype):
    """Writing into a locked array raises."""
    step = copy.deepcopy(step)  # some keep a cache
    for seed in range(10):
        np.random.seed(seed)
        sample = make_sample(seed, dtype)
        others = getattr(step, 'num_others', 0)
        sample['mix_results'] = [make_sample(seed * 10 + number, dtype) for number in range(others)]
        step(copy_for(step, sample))
        assert np.array_equal(sample['img'], make_sample(seed, dtype)['img'])


def test_images_alone_are_shared():
    sample = make_sample(0)
    sample['mix_results'] = [make_sample(1)]
    copied = copy_for(transforms.MixUp(), sample)
    pairs = [(sample, copied), (sample['mix_results'][0], copied['mix_results'][0])]
    for original, other in pairs:
        assert other is not original
        assert other['img'] is original['img']
        assert other['gt_bboxes'].tensor.data_ptr() != original['gt_bboxes'].tensor.data_ptr()
        assert not np.shares_memory(other['gt_masks'].masks, original['gt_masks'].masks)


class Blackened(transforms.MixUp):
    """A step of a user that writes into what it gets, though its base doesn't."""

    def mix(self, results, others):
        results['img'][:] = 0
        return results


@pytest.mark.parametrize('step', [Blackened(), lambda results: results], ids=['subclass', 'function'])
def test_steps_of_others_get_images_of_their_own(step):
    sample = make_sample(0)
    sample['img'].flags.writeable = True
    copied = copy_for(step, sample)
    assert not np.shares_memory(copied['img'], sample['img'])
    assert np.array_equal(copied['img'], sample['img'])
