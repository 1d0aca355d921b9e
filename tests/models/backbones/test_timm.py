"""Transformers of timm under a simple feature pyramid; skipped where timm can't be imported."""

from pathlib import Path

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones import TIMMBackbone
from mmdetlike.registry import MODELS
from mmdetlike.utils.config import load_config
from tests.models.backbone_checks import dead_parameters
from tests.models.tiny import make_sample

pytest.importorskip('timm', reason='an optional package: pip install timm', exc_type=ImportError)
CONFIG = Path(__file__).parents[3] / 'configs/timm_example/faster-rcnn_timm-dinov3-vit-s-simple-fpn_1x_coco.py'


def test_dinov3_puts_out_a_map_of_any_size():
    model = TIMMBackbone('vit_small_patch16_dinov3', out_indices=(-1,)).eval()
    assert [tuple(m.shape) for m in model(torch.rand(1, 3, 64, 96))] == [(1, 384, 4, 6)]
    assert dead_parameters(model) == []


def test_other_transformers_need_dynamic_img_size():
    with pytest.raises(ConfigError, match=r'refuses images of 64 x 96 pixels: .*dynamic_img_size=True'):
        TIMMBackbone('vit_tiny_patch16_224', out_indices=(-1,))(torch.rand(1, 3, 64, 96))
    model = TIMMBackbone('vit_tiny_patch16_224', out_indices=(-1,), dynamic_img_size=True)
    assert [tuple(m.shape) for m in model(torch.rand(1, 3, 64, 96))] == [(1, 192, 4, 6)]


def test_a_detector_learns_and_predicts():
    cfg = load_config(CONFIG).model
    cfg.backbone.pretrained = False
    model = MODELS.build(cfg)
    samples = [make_sample(2, num_classes=80)]
    image = torch.rand(1, 3, 64, 64)
    losses = model.train()(image, samples, mode='loss')
    terms = [term for value in losses.values() for term in (value if isinstance(value, list) else [value])]
    total = sum(term for term in terms if term.requires_grad)
    total.backward()
    assert torch.isfinite(total) and model.backbone.timm_model.model.blocks[0].norm1.weight.grad.any()
    (found,) = model.eval()(image, samples, mode='predict')
    assert found.pred_instances.bboxes.shape[1] == 4
