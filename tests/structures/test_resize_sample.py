"""Packed samples that follow their batch to another size."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData, PixelData

from mmdetlike.structures import BitmapMasks, DetDataSample, HorizontalBoxes, PolygonMasks, Warp
from mmdetlike.structures.resize_sample import resize_sample

BOX = [4.0, 8.0, 12.0, 16.0]
CORNERS = np.array([4, 8, 12, 8, 12, 16, 4, 16], float)


def bitmap_of_box(size=(24, 32)):
    bitmap = np.zeros((1, *size), np.uint8)
    bitmap[:, 8:16, 4:12] = 1
    return bitmap


def make_sample(masks, boxes=HorizontalBoxes):
    """A picture of 24 x 32 in a batch of 32 x 32; its masks aren't padded."""
    sample = DetDataSample(metainfo=dict(img_shape=(24, 32), pad_shape=(32, 32), batch_input_shape=(32, 32)))
    keypoints = torch.tensor([[[4.0, 8.0, 2.0], [0.0, 0.0, 0.0]]])
    instances = dict(bboxes=boxes(torch.tensor([BOX])), labels=torch.tensor([3]), masks=masks, keypoints=keypoints)
    sample.gt_instances = InstanceData(**instances)
    sample.ignored_instances = InstanceData(bboxes=boxes(torch.tensor([BOX])))
    sample.proposals = InstanceData(bboxes=torch.tensor([BOX]), scores=torch.tensor([0.5]))
    sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(bitmap_of_box((32, 32)) * 7))
    return sample


@pytest.mark.parametrize('boxes', [HorizontalBoxes, torch.clone])
@pytest.mark.parametrize(
    'masks',
    [BitmapMasks(bitmap_of_box(), 24, 32), PolygonMasks([[CORNERS]], 24, 32), torch.from_numpy(bitmap_of_box())],
    ids=lambda masks: type(masks).__name__,
)
def test_everything_follows(masks, boxes):
    sample = make_sample(masks, boxes)
    resize_sample(sample, Warp.resize((32, 32), (64, 96)))
    assert (sample.img_shape, sample.pad_shape, sample.batch_input_shape) == ((48, 96), (64, 96), (64, 96))
    expected = [[12.0, 16.0, 36.0, 32.0]]
    for instances in (sample.gt_instances, sample.ignored_instances, sample.proposals):
        assert getattr(instances.bboxes, 'tensor', instances.bboxes).tolist() == expected
    assert sample.gt_instances.keypoints.tolist() == [[[12, 16, 2], [0, 0, 0]]]
    enlarged = bitmap_of_box().repeat(2, axis=1).repeat(3, axis=2)
    masks = sample.gt_instances.masks
    assert np.array_equal(masks.numpy() if isinstance(masks, torch.Tensor) else masks.to_ndarray(), enlarged)
    assert sample.gt_instances.labels.tolist() == [3]
    seg = sample.gt_sem_seg.sem_seg
    assert seg.dtype == torch.uint8
    assert np.array_equal(seg.numpy(), bitmap_of_box((32, 32)).repeat(2, axis=1).repeat(3, axis=2) * 7)


@settings(deadline=None, max_examples=50)
@given(
    old=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    factors=st.tuples(st.sampled_from([1, 2, 3, 4]), st.sampled_from([1, 2, 3, 4])),
    enlarge=st.booleans(),
)
def test_label_maps_are_those_of_a_warp(old, factors, enlarge):
    new = tuple(side * factor for side, factor in zip(old, factors))
    old, new = (old, new) if enlarge or 2 in factors or 4 in factors else (new, old)  # halves of pixels are ties
    seg = np.random.default_rng(0).integers(0, 256, old).astype(np.uint8)
    sample = DetDataSample(metainfo=dict(img_shape=old, pad_shape=old))
    sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(seg)[None])
    warp = Warp.resize(old, new)
    resize_sample(sample, warp)
    assert sample.img_shape == sample.gt_sem_seg.shape == new
    assert np.array_equal(sample.gt_sem_seg.sem_seg[0].numpy(), warp.label_map(seg))


@settings(deadline=None, max_examples=100)
@given(
    old=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    new=st.tuples(st.integers(1, 50), st.integers(1, 50)),
)
def test_what_fills_the_batch_fills_the_new_one(old, new):
    sample = DetDataSample(metainfo=dict(img_shape=old, pad_shape=old))
    sample.gt_instances = InstanceData(masks=BitmapMasks(np.ones((1, *old), np.uint8), *old))
    resize_sample(sample, Warp.resize(old, new))
    assert sample.img_shape == sample.pad_shape == sample.gt_instances.masks.size == new


def test_instances_without_boxes_and_samples_without_annotations():
    sample = DetDataSample(metainfo=dict(img_shape=(8, 8), pad_shape=(8, 8)))
    sample.gt_instances = InstanceData(labels=torch.zeros(0))
    resize_sample(sample, Warp.resize((8, 8), (16, 16)))
    assert sample.img_shape == (16, 16)
    resize_sample(DetDataSample(), Warp.resize((8, 8), (16, 16)))
