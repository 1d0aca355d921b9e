"""Tensors of more than 2^31 elements: the last of them is where an index of 32 bits would not reach.

They take up to 10 GiB and, on a busy machine, minutes. What is missing needs more: the gradient of deform_conv2d
with such an x, which reads x and writes a tensor of its size, both in float32 (16 GiB). Its indices are computed as in
the forward pass.
"""

import gc
from pathlib import Path

import pytest
import torch
from torch.autograd.graph import get_gradient_edge

from mmdetlike_ops import (
    CornerPool,
    bbox_overlaps,
    border_align,
    carafe,
    deform_conv2d,
    deform_roi_pool,
    ms_deform_attn,
    paste_masks,
    points_in_polygons,
    prroi_pool,
    psa_mask,
    roi_align,
    roi_align_rotated,
    roi_pool,
    rotated_feature_align,
    sigmoid_focal_loss,
)

IMAGES, CHANNELS, SIDE = 272, 8, 1000
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def memory():
    lines = Path('/proc/meminfo').read_text().splitlines() if Path('/proc/meminfo').exists() else []
    free = {line.split(':')[0]: int(line.split()[1]) for line in lines}.get('MemAvailable', 0)
    if free < 12 << 20:
        pytest.skip('needs 12 GiB of free memory')
    yield
    gc.collect()


@pytest.fixture
def maps(rng):
    """(images, channels, side, side) zeros but for the last image."""
    x = torch.zeros(IMAGES, CHANNELS, SIDE, SIDE, dtype=torch.bfloat16)
    x[-1] = torch.randn(x.shape[1:], generator=rng)
    assert x.numel() > 2**31
    return x


def deformed(x, rois):
    return deform_roi_pool(x, rois, torch.full((len(rois), 2, 2, 2), 0.3), 2, 1.0, 2)


POOLS = {
    'align': lambda x, rois: roi_align(x, rois, 2, 1.0, 2),
    'align_max': lambda x, rois: roi_align(x, rois, 2, 1.0, 2, 'max'),
    'rotated': lambda x, rois: roi_align_rotated(x, torch.cat([rois, rois[:, :1] * 0 + 0.2], 1), 2, 1.0, 2),
    'pool': lambda x, rois: roi_pool(x, rois, 2),
    'precise': lambda x, rois: prroi_pool(x, rois, 2),
    'deformed': deformed,
}


@pytest.mark.parametrize('name', POOLS)
def test_regions(maps, name):
    corner = [SIDE - 40.0, SIDE - 30.0, SIDE - 8.0, SIDE - 5.0]
    rois = torch.tensor([[IMAGES - 1, *corner], [IMAGES - 1, 3, 4, 40, 50]])
    alone = rois.clone()
    alone[:, 0] = 0
    results = []
    for x, regions in ((maps, rois), (maps[-1:].clone(), alone)):
        out = POOLS[name](x.requires_grad_(), regions)
        (grad,) = torch.autograd.grad(out.float().square().sum(), x)
        assert not grad[:-1, :, 0].any()
        results.append((out.detach(), grad[-1].clone()))
        del grad
    assert results[0][0].abs().sum() > 0
    assert all(torch.equal(*pair) for pair in zip(*results))


def test_borders(maps):
    boxes = torch.tensor([3.0, 4, 990, 980]).expand(IMAGES, 1, 4)
    out = border_align(maps, boxes, 4)
    assert torch.equal(out[-1:], border_align(maps[-1:].clone(), boxes[-1:], 4))
    assert out[-1].abs().sum() > 0


def test_feature_align():
    images, side = 34, 320
    x = torch.zeros(images, 640, side, side, dtype=torch.bfloat16)
    x[-1, :, -9:, -9:] = 3
    assert x.numel() > 2**31
    boxes = torch.tensor([side - 5.0, side - 5, 3, 4, 0.2]).expand(images, side, side, 5)
    out = rotated_feature_align(x, boxes, 1.0)
    assert out[-1, -1, -1, -1] == 6
    assert out[-1, -1, 0, 0] == 3
    assert out[0, 0, 0, 0] == 0


@pytest.mark.parametrize('mode, shape', [('top', (SIDE, 1)), ('right', (1, SIDE))])
def test_corner_pool(rng, mode, shape):
    """8 GiB: a dense copy of the input, and the output. Each line has values of its own."""
    few = torch.randn(IMAGES, CHANNELS, *shape, generator=rng).half()
    x = few.expand(IMAGES, CHANNELS, SIDE, SIDE)
    assert x.numel() > 2**31
    out = CornerPool(mode)(x)
    for image in (0, IMAGES - 1):
        assert torch.equal(out[image, None], CornerPool(mode)(few[image, None]).expand(1, CHANNELS, SIDE, SIDE))


def test_corner_pool_backward(rng):
    """8 GiB: the output, and one input: constant along columns, so its own maximum, and taken as the gradient too."""
    x = torch.randn(IMAGES, CHANNELS, 1, SIDE, generator=rng).half().expand(IMAGES, CHANNELS, SIDE, SIDE).contiguous()
    assert x.numel() > 2**31
    grad = torch.ops.mmdetlike_ops.corner_pool_backward(x, x, x, 2, True)
    for image in (0, IMAGES - 1):
        one = x[image, None]
        assert torch.equal(grad[image, None], torch.ops.mmdetlike_ops.corner_pool_backward(one, one, one, 2, True))
        assert grad[image].any()


def test_deformable_convolution_of_a_large_input(rng):
    """8 GiB: a dense copy of the input. Each image, channel and column has values of its own."""
    x = torch.randn(IMAGES, CHANNELS, 1, SIDE, generator=rng).expand(IMAGES, CHANNELS, SIDE, SIDE)
    assert x.numel() > 2**31
    offset, weight = torch.randn(IMAGES, 18, 2, 2, generator=rng), torch.randn(3, CHANNELS, 3, 3, generator=rng)
    out = deform_conv2d(x, offset, weight, stride=SIDE - 3, im2col_step=1)
    for image in (0, IMAGES - 1):
        alone = deform_conv2d(x[image, None].contiguous(), offset[image, None], weight, stride=SIDE - 3)
        assert torch.equal(out[image, None], alone)
        assert alone.abs().min() > 0


def test_deformable_convolution_of_a_large_output(rng):
    """8 GiB: the output; then, without it, a dense copy of its gradient. Both are larger than any gradient."""
    size, outputs = 256, 2**15 + 8
    x = torch.randn(1, 1, size, size, generator=rng).requires_grad_()
    offset = torch.randn(1, 2, size, size, generator=rng).requires_grad_()
    weight = torch.randn(outputs, 1, 1, 1, generator=rng).requires_grad_()
    out = deform_conv2d(x, offset, weight)
    assert out.numel() > 2**31
    single = deform_conv2d(x, offset, torch.ones(1, 1, 1, 1))
    for channel in (0, outputs - 1):
        torch.testing.assert_close(out[:, channel], single[:, 0] * weight[channel])
    edge = get_gradient_edge(out)
    del out
    upstream = torch.randn(1, 1, size, size, generator=rng)
    grads = torch.autograd.grad(edge, (x, offset, weight), upstream.expand(1, outputs, size, size))
    expected = torch.autograd.grad(single, (x, offset), upstream * weight.sum())
    for actual, wanted in zip(grads, expected):
        torch.testing.assert_close(actual, wanted, rtol=1e-3, atol=1e-3 * wanted.abs().max().item())
    torch.testing.assert_close(grads[2], (single * upstream).sum().expand(outputs, 1, 1, 1), rtol=1e-3, atol=0.05)


def test_attention(rng):
    """8 GiB: a dense copy of the values, which are the same all over an image."""
    few = torch.randn(IMAGES, 1, 1, CHANNELS, generator=rng)
    value = few.expand(IMAGES, SIDE * SIDE, 1, CHANNELS)
    assert value.numel() > 2**31
    locations = torch.full((IMAGES, 1, 1, 1, 1, 2), 0.5)
    weights = torch.ones(IMAGES, 1, 1, 1, 1)
    out = ms_deform_attn(value, torch.tensor([[SIDE, SIDE]]), torch.tensor([0]), locations, weights)
    torch.testing.assert_close(out, few[:, :, 0])


def test_upsampling(rng):
    x, masks = torch.randn(1, 512, 125, 138, generator=rng), torch.ones(1, 1, 2000, 2208)
    out = carafe(x, masks, 1, 1, 16)
    assert out.numel() > 2**31
    assert torch.equal(out[0, -1, -16:, -16:], x[0, -1, -1, -1].expand(16, 16))
    assert torch.equal(out[0, :, ::16, ::16], x[0])


@pytest.mark.parametrize('psa_type', ['collect', 'distribute'])
def test_attention_of_all_pixels(rng, psa_type):
    x = torch.randn(1, 1, 216, 216, generator=rng).bfloat16()
    out = psa_mask(x, psa_type, 1)
    assert out.numel() > 2**31
    assert torch.equal(out[0].flatten(1).diagonal(), x.flatten())


def test_focal_loss():
    x = torch.zeros(27_000_000, 80, dtype=torch.bfloat16)
    assert x.numel() > 2**31
    x[-1] = 4
    target = torch.full((len(x),), 80)
    out = sigmoid_focal_loss(x, target, reduction='none')
    assert torch.equal(out[-2:], sigmoid_focal_loss(x[-2:], target[-2:], reduction='none'))
    assert out[-1, -1] != out[-2, -1]


def test_overlaps():
    boxes = torch.tensor([[0.0, 0, 1, 1]], dtype=torch.bfloat16).repeat(46400, 1)
    boxes[-1] = torch.tensor([0.0, 0, 1, 2])
    out = bbox_overlaps(boxes, boxes)
    assert out.numel() > 2**31
    assert out[-1, -2:].tolist() == [0.5, 1]


def test_points_in_polygons():
    points = torch.full((46400, 2), 5.0, dtype=torch.bfloat16)
    points[-1] = 50
    polygons = torch.tensor([[0, 0, 10, 0, 10, 10, 0, 10.0]], dtype=torch.bfloat16).repeat(46400, 1)
    out = points_in_polygons(points, polygons)
    assert out.numel() > 2**31
    assert out[-2:, -1].tolist() == [1, 0]


def test_pasting():
    boxes = torch.tensor([[0.0, 0, 0, 0]]).repeat(280, 1)
    boxes[-1] = torch.tensor([2700.0, 2700, 2800, 2800])
    out = paste_masks(torch.ones(280, 4, 4), boxes, 2800, 2800)
    assert out.numel() > 2**31
    assert out[-1, -20, -20]
    assert out[-1].sum() > 9000
    assert not out[0].any()
