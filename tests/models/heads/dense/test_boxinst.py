"""BoxInst: what its preprocessor says of colors, and the losses of masks from boxes."""

import math

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.data_preprocessors import BoxInstDataPreprocessor
from mmdetlike.models.utils import neighbors
from tests.models.families import build
from tests.models.tiny import batch, make_sample

MEAN = dict(mean=[120.0] * 3, std=[60.0] * 3, pad_size_divisor=4, bgr_to_rgb=True)


def prepared(image, boxes=1, **settings):
    """The sample of one image (3, h, w) after the preprocessor."""
    preprocessor = BoxInstDataPreprocessor(**{**MEAN, **settings})
    sample = make_sample(boxes, tuple(image.shape[-2:]))
    return preprocessor(dict(inputs=[image], data_samples=[sample]), training=True)['data_samples'][0]


def test_neighbors_are_those_around_in_reading_order():
    maps = torch.arange(9.0).view(1, 1, 3, 3)
    assert neighbors(maps)[0, 0, :, 1, 1].tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert neighbors(maps)[0, 0, :, 0, 0].tolist() == [0, 0, 0, 0, 1, 0, 3, 4]
    assert neighbors(torch.ones(1, 1, 5, 5), dilation=2)[0, 0].sum((1, 2)).tolist() == [9, 15, 9, 15, 15, 9, 15, 9]


def test_pixels_of_one_color_are_similar_and_others_are_not():
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[:, :, 16:] = 255
    similar = prepared(image, bottom_pixels_removed=0).similar_neighbors
    assert similar.shape == (8, 8, 8)
    # two strides to the left, at the same height
    assert similar[3, 4, 3] and similar[3, 4, 6]
    assert not similar[3, 4, 4] and not similar[3, 4, 5]
    # beyond the border is nothing
    assert not similar[3, :, :2].any()


def test_the_bottom_of_an_image_and_padding_are_left_out():
    image = torch.zeros(3, 32, 30, dtype=torch.uint8)
    similar = prepared(image, bottom_pixels_removed=8).similar_neighbors
    below = similar[6]
    # rows 6 and 7 of 8 are removed, so row 4 has no neighbor below
    assert below[3, 2:6].all() and not below[4].any()


def test_masks_are_the_boxes():
    masks = prepared(torch.zeros(3, 32, 32, dtype=torch.uint8), [[4.6, 8.0, 10.2, 12.0]]).gt_instances.masks
    rows, columns = masks.to_ndarray()[0].nonzero()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 12, 4, 10)


def test_colors_need_mean_and_a_fitting_stride():
    with pytest.raises(ConfigError, match='needs mean and std'):
        BoxInstDataPreprocessor()
    with pytest.raises(ConfigError, match=r'pad_size_divisor=6 .* multiple of mask_stride=4'):
        BoxInstDataPreprocessor(**dict(MEAN, pad_size_divisor=6))


def test_disagreement_by_hand():
    head = build('boxinst').mask_head
    logits = torch.zeros(1, 6, 6)
    logits[0, 2, 2] = math.log(3)  # a probability of 3 / 4
    left = head.disagreement(logits)[0, 3]
    # of the pixel and the one two to its left: 3/4 * 1/2 + 1/4 * 1/2
    assert left[2, 2].item() == pytest.approx(-math.log(0.5), rel=1e-5)
    logits[0, 2, 0] = math.log(3)
    assert head.disagreement(logits)[0, 3, 2, 2].item() == pytest.approx(-math.log(9 / 16 + 1 / 16), rel=1e-5)


def test_the_pairwise_loss_rises_from_zero():
    model = build('boxinst').train()
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    data = dict(inputs=[image], data_samples=[make_sample([[8, 8, 40, 40]])])
    data = model.data_preprocessor(data, training=True)
    assert model(**data, mode='loss')['loss_mask_pairwise'] > 0
    model.mask_head.warmup_iters = 100
    assert model(**data, mode='loss')['loss_mask_pairwise'] == 0


def test_samples_of_another_preprocessor_are_refused():
    model = build('boxinst').train()
    data = batch(model, [make_sample(2)], training=True)
    del data['data_samples'][0].similar_neighbors
    with pytest.raises(ConfigError, match=r'similar_neighbors of shape \(8, 16, 16\) from a BoxInst.* 0.jpg has None'):
        model(**data, mode='loss')
