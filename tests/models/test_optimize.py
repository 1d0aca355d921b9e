"""Detectors after ``optimize_model``: they predict what they did, and can't be trained."""

import copy

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.nn.modules.batchnorm import _BatchNorm

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones import Res2Net
from mmdetlike.models.heads.roi.scnet_roi_head import residual_convs
from mmdetlike.models.layers import fuse_conv_bn
from mmdetlike.models.optimize import check_optimization, optimize_model
from mmdetlike.registry import MODELS
from tests.models.families import FAMILIES, build
from tests.models.test_families_compile import BF16_SCORES, BF16_SCORES_OF, FINDS_NOTHING, fields, quick_first
from tests.models.tiny import make_sample, predict

# their norms follow no convolution, one whose weight is computed in each call, or one that branches or levels share
WITH_NORMS_LEFT = {'nas_fcos', 'tridentnet', 'tridentnet_of_all_branches', 'detectors', 'efficientdet'}
QUICK = {'retinanet', 'rtmdet', 'mask_rcnn', 'centernet', 'dino'}
has_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason='this CPU computes no bfloat16 by itself'
)


def with_statistics(model: nn.Module) -> nn.Module:
    """A model in eval mode whose batch norms have seen something, so that to leave one out makes a difference."""
    generator = torch.Generator().manual_seed(0)
    for norm in model.modules():
        if isinstance(norm, _BatchNorm):
            norm.running_mean.copy_(0.1 * torch.randn(norm.running_mean.shape, generator=generator))
            norm.running_var.uniform_(0.7, 1.4, generator=generator)
    return model.eval()


@pytest.fixture
def compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def predictions(model, **kwargs) -> tuple[dict, dict]:
    """What a model predicts, and what it predicts once it is optimized."""
    plain = fields(predict(model, [make_sample(2)])[0])
    return plain, fields(predict(optimize_model(copy.deepcopy(model), **kwargs), [make_sample(2)])[0])


@pytest.mark.parametrize('family', quick_first(quick=QUICK))
def test_folded_norms_predict_the_same(family):
    plain, optimized = predictions(with_statistics(build(family)))
    torch.testing.assert_close(optimized, plain, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('family', FAMILIES)
def test_compiled_parts_predict_the_same(family, compiler):
    plain, optimized = predictions(with_statistics(build(family)), optimize='compile', backend='aot_eager')
    torch.testing.assert_close(optimized, plain, rtol=1e-3, atol=1e-4)


@has_bfloat16
@pytest.mark.parametrize('family', quick_first(quick=QUICK))
def test_bfloat16_predicts_nearly_the_same(family):
    plain, optimized = predictions(build(family), optimize='bf16')
    assert set(plain) == set(optimized)
    if 'pred_instances' not in plain or family in FINDS_NOTHING:
        return
    plain, optimized = plain['pred_instances'], optimized['pred_instances']
    assert optimized['bboxes'].dtype == optimized['scores'].dtype == torch.float32
    count = min(len(plain['scores']), len(optimized['scores']))
    assert abs(len(plain['scores']) - len(optimized['scores'])) <= 2
    scores = [pred['scores'].sort(descending=True).values[:count] for pred in (optimized, plain)]
    torch.testing.assert_close(*scores, atol=BF16_SCORES_OF.get(family, BF16_SCORES), rtol=0)


def test_no_norm_is_left_but_where_it_must_be():
    left = set()
    for family in FAMILIES:
        model = fuse_conv_bn(build(family).eval())
        left |= {family} if any(isinstance(module, _BatchNorm) for module in model.modules()) else set()
    assert left == WITH_NORMS_LEFT


@pytest.mark.parametrize(
    'build',
    [
        lambda: Res2Net(depth=50, base_channels=8, base_width=4, out_indices=(0, 1)),
        lambda: residual_convs(2, 3, 3, norm_cfg=dict(type='BN'))[0],
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 2, 2), nn.BatchNorm2d(4)),
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 6, 2, 2, groups=3), nn.BatchNorm2d(6)),
        lambda: nn.Sequential(MODELS.get('DCNv2')(3, 4, 3, padding=1), nn.BatchNorm2d(4)),
    ],
)
@torch.no_grad()
def test_norms_are_folded_where_order_or_kind_of_convolution_is_another(build):
    torch.manual_seed(0)
    module = with_statistics(build())
    images = torch.randn(1, 3, 32, 32)
    expected = module(images)
    fused = fuse_conv_bn(module)
    torch.testing.assert_close(fused(images), expected, rtol=1e-4, atol=1e-5)
    grouped = any(isinstance(part, nn.ConvTranspose2d) and part.groups > 1 for part in module.modules())
    assert any(isinstance(part, _BatchNorm) for part in fused.modules()) == grouped


def test_weights_are_in_the_layout_and_precision_of_the_machine():
    model = optimize_model(build('retinanet'), 'bf16')
    weight = model.backbone.layer1[0].conv1.weight
    assert weight.dtype == torch.bfloat16
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_half_precision_keeps_outputs_of_tensors_in_float32():
    model = optimize_model(build('detr'), 'bf16')
    detected = model.detect(torch.randn(1, 3, 64, 64))[0]
    assert detected['boxes'].dtype == detected['scores'].dtype == torch.float32


def test_an_optimized_detector_is_not_trained():
    model = optimize_model(build('retinanet'))
    with pytest.raises(ConfigError, match=r'this RetinaNet was optimized for prediction, .* build it without optimize'):
        model.train()
    with pytest.raises(ConfigError, match='was optimized for prediction'):
        model(torch.zeros(1, 3, 64, 64), [make_sample(1)], mode='loss')
    with pytest.raises(ConfigError, match='the RetinaNet has been optimized before'):
        optimize_model(model, 'bf16')


@pytest.mark.parametrize(
    'optimize, message',
    [
        ('fp16', "optimize='fp16' needs a GPU, the model is on the CPU: use 'bf16' or 'fp32' there"),
        ('int8', "optimize must be one of 'fp32', 'bf16', 'fp16', 'compile', got 'int8'"),
    ],
)
def test_what_the_device_cannot_do_is_refused(optimize, message):
    with pytest.raises(ConfigError, match=message):
        check_optimization(optimize, torch.device('cpu'))


def test_bfloat16_is_refused_where_the_cpu_has_none(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', lambda: False)
    with pytest.raises(ConfigError, match="needs a CPU with AVX-512, which this one lacks: use 'fp32'"):
        optimize_model(build('retinanet'), 'bf16')


def test_other_models_are_refused():
    with pytest.raises(ConfigError, match='a detector that derives from BaseDetector, Linear does not'):
        optimize_model(nn.Linear(1, 1))


def test_batches_are_padded_to_the_smallest_size_that_holds_them():
    model = optimize_model(build('retinanet'), sizes=[(128, 128), (96, 64)])
    shapes = []
    for height in (64, 90, 100, 140):
        images = [torch.zeros(3, height, 64, dtype=torch.uint8)]
        shapes.append(tuple(model.data_preprocessor(dict(inputs=images))['inputs'].shape[-2:]))
    assert shapes == [(96, 64), (96, 64), (128, 128), (160, 64)]
    with pytest.raises(ConfigError, match=r'multiples of pad_size_divisor=32, got \(100, 64\)'):
        optimize_model(build('retinanet'), sizes=[(100, 64)])


def test_few_sizes_are_compiled(compiler):
    counter = CompileCounter()
    model = optimize_model(build('retinanet'), compile=True, sizes=[(64, 64)], backend=counter)
    for shape in ((40, 50), (60, 64), (33, 33)):
        predict(model, [make_sample(1, shape)])
    assert counter.frame_count == 3  # backbone, neck and head
