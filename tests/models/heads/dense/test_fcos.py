"""FCOS with another classifier than a convolution."""

import pytest
import torch

from mmdetlike.models.heads.dense import FCOSHead
from mmdetlike.models.layers import run_tower


def make_head() -> FCOSHead:
    torch.manual_seed(0)
    cfg = dict(type='NormedLinear', tempearture=50, bias=True)
    sizes = dict(feat_channels=8, stacked_convs=1, strides=(8,), norm_cfg=None, regress_ranges=((-1, 1e8),))
    return FCOSHead(3, 8, cls_predictor_cfg=cfg, **sizes)


def test_a_linear_layer_classifies_each_pixel():
    head = make_head()
    x = torch.rand(2, 8, 3, 5)
    logits = head.forward_level(0, x)[0]
    assert logits.shape == (2, 3, 3, 5)
    pixel = run_tower(head.cls_convs, x)[1, :, 2, 4]
    cosines = torch.nn.functional.cosine_similarity(pixel[None], head.conv_cls.weight, dim=1)
    torch.testing.assert_close(logits[1, :, 2, 4], 50 * cosines + head.conv_cls.bias, rtol=1e-4, atol=1e-4)


def test_its_classes_are_rare_at_first():
    head = make_head()
    head.init_weights()
    assert head.conv_cls.bias.sigmoid().tolist() == pytest.approx([0.01] * 3)
    # the cosines that the bias is added to have all signs
    assert head.conv_cls.weight.std().item() == pytest.approx(0.01, rel=0.5)
