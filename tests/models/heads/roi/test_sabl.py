"""SABL: boxes as buckets and offsets, features along axes, errors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.roi.bbox_heads.sabl_head import SABLHead, attend
from mmdetlike.models.task_modules import BucketingBBoxCoder
from tests.models.tiny import random_boxes


def test_buckets_by_hand():
    # the box grows from 20 to 40 pixels: 4 buckets of 10
    coder = BucketingBBoxCoder(4, 2.0)
    middles, sizes = coder.buckets(torch.tensor([[10.0, 20, 30, 40]]))
    assert sizes.tolist() == [[10.0] * 4]
    assert middles[0].tolist() == [[5, 15], [35, 25], [15, 25], [45, 35]]  # from the outside to the inside


def test_codes_by_hand():
    coder = BucketingBBoxCoder(4, 2.0)
    codes = coder.encode(torch.tensor([[10.0, 20, 30, 40]]), torch.tensor([[7.0, 26, 35, 44]]))
    assert codes.labels.tolist() == [[1, 0, 1, 0, 0, 1, 1, 0]]
    assert codes.offsets[0].tolist() == pytest.approx([-0.2, 0.8, 0, -1, -1.1, -0.1, 0.1, -0.9])
    # the second nearest bucket counts where it is less than a bucket away
    assert codes.offset_weights.tolist() == [[1, 1, 1, 0, 0, 1, 1, 1]]
    # and is then neither right nor wrong
    assert codes.label_weights.tolist() == [[1, 0, 1, 1, 1, 1, 1, 0]]
    assert BucketingBBoxCoder(4, 2.0, cls_ignore_neighbor=False).encode(
        torch.tensor([[10.0, 20, 30, 40]]), torch.tensor([[7.0, 26, 35, 44]])
    ).label_weights.tolist() == [[1] * 8]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 15), st.floats(1.0, 3.0))
def test_codes_are_decoded_to_the_same_boxes(seed, num_buckets, scale_factor):
    coder = BucketingBBoxCoder(num_buckets, scale_factor, offset_topk=1)
    proposals, boxes = random_boxes(6, seed=seed), random_boxes(6, seed=seed + 1)
    codes = coder.encode(proposals, boxes)
    decoded, confidence = coder.decode(proposals, codes.labels * 100, codes.offsets)
    torch.testing.assert_close(decoded, boxes, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(confidence, torch.ones(6))


def test_objects_without_width():
    box = torch.tensor([[9.0, 9, 9, 30]])
    codes = BucketingBBoxCoder(4, 2.0).encode(box, box)
    assert bool(codes.offsets.isfinite().all())


def test_confidence_counts_neighbors():
    coder = BucketingBBoxCoder(6, 1.0)
    logits = torch.tensor([[0.6, 0.3, 0.1], [0.6, 0.1, 0.3], [0.8, 0.1, 0.1], [0.2, 0.5, 0.3]]).log().reshape(1, 12)
    _, confidence = coder.decode(torch.tensor([[0.0, 0, 9, 9]]), logits, torch.zeros(1, 12))
    # of the third side the second best is either of two
    assert float(confidence) in (pytest.approx((0.9 + 0.6 + 0.9 + 0.8) / 4), pytest.approx((0.9 + 0.6 + 0.8 + 0.8) / 4))


def test_boxes_stay_in_the_image():
    coder = BucketingBBoxCoder(4, 2.0)
    box, _ = coder.decode(torch.tensor([[0.0, 0, 20, 20]]), torch.tensor([[9.0, 0] * 4]), torch.zeros(1, 8), (22, 21))
    assert box.tolist() == [[0, 0, 20, 21]]


def test_attention_is_a_weighted_mean():
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(attend(x, torch.zeros(2, 1, 4, 5), 2), x.mean(2, keepdim=True))
    torch.testing.assert_close(attend(x, torch.zeros(2, 1, 4, 5), 3), x.mean(3, keepdim=True))


@pytest.mark.parametrize(
    'cfg, message',
    [
        (dict(cls_in_channels=8, reg_in_channels=4), 'cls_in_channels=8 and reg_in_channels=4 must be equal'),
        (dict(reg_class_agnostic=False), 'reg_class_agnostic must be True, got False'),
        (dict(roi_feat_size=5), r'roi_feat_size=5 times reg_feat_up_ratio=2 must be bbox_coder\.num_buckets=14'),
    ],
)
def test_settings_that_do_not_fit(cfg, message):
    with pytest.raises(ConfigError, match=message):
        SABLHead(num_classes=2, **cfg)


def test_coders_that_cannot_be():
    with pytest.raises(ConfigError, match='num_buckets must be at least 2, got 1'):
        BucketingBBoxCoder(1, 1.0)
    with pytest.raises(ConfigError, match=r'offset_topk must be in 1\.\.2, the buckets of a side, got 3'):
        BucketingBBoxCoder(4, 1.0, offset_topk=3)
