"""Tensors of more than 2^31 elements: the last of them is where an index of 32 bits would not reach.

They take up to 14 GiB and, on a busy machine, minutes. CornerPool and deform_conv2d are not here: in half precision
their copies in float32 would take more.
"""

import gc
from pathlib import Path

import pytest
import torch

from mmdetlike_ops import (
    bbox_overlaps,
    border_align,
    carafe,
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
    if free < 16 << 20:
        pytest.skip('needs 16 GiB of free memory')
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
    x = torch.zeros(34, 64, 1000, 1000, dtype=torch.bfloat16)
    x[-1, :, -9:, -9:] = 3
    assert x.numel() > 2**31
    boxes = torch.tensor([995.0, 995, 3, 4, 0.2]).expand(34, 1000, 1000, 5)
    out = rotated_feature_align(x, boxes, 1.0)
    assert out[-1, -1, -1, -1] == 6
    assert out[-1, -1, 0, 0] == 3
    assert out[0, 0, 0, 0] == 0


def test_attention():
    value = torch.zeros(IMAGES, SIDE * SIDE, 1, CHANNELS, dtype=torch.bfloat16)
    value[-1] = 2
    locations = torch.full((IMAGES, 1, 1, 1, 1, 2), 0.5)
    weights = torch.ones(IMAGES, 1, 1, 1, 1)
    out = ms_deform_attn(value, torch.tensor([[SIDE, SIDE]]), torch.tensor([0]), locations, weights)
    assert out[-1].eq(2).all()
    assert not out[:-1].any()


def test_upsampling(rng):
    x, masks = torch.randn(1, 32, 2000, 2200, generator=rng).bfloat16(), torch.ones(1, 1, 8000, 8800).bfloat16()
    out = carafe(x, masks, 1, 1, 4)
    assert out.numel() > 2**31
    assert torch.equal(out[0, -1, -4:, -4:], x[0, -1, -1, -1].expand(4, 4))
    assert torch.equal(out[0, :, ::4, ::4], x[0])


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
