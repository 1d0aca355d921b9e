"""What stands for our kernels in ONNX equals them."""

import pytest
import torch

from mmdetlike.export import decompositions
from mmdetlike_ops import modulated_deform_conv2d, ms_deform_attn, paste_masks


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_ms_deform_attn():
    value = random(2, 26, 4, 3)
    shapes = torch.tensor([[4, 5], [2, 3]])
    starts = torch.tensor([0, 20])
    locations = random(2, 7, 4, 2, 3, 2, seed=1) * 0.4 + 0.5  # some of them outside
    attention = random(2, 7, 4, 2, 3, seed=2)
    got = decompositions.ms_deform_attn(value, shapes, starts, locations, attention)
    torch.testing.assert_close(got, ms_deform_attn(value, shapes, starts, locations, attention), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    'groups, deform_groups, stride, padding, dilation', [(1, 1, 1, 1, 1), (2, 4, 2, 1, 1), (4, 2, 1, 2, 2)]
)
def test_deform_conv2d(groups, deform_groups, stride, padding, dilation):
    x = random(2, 8, 9, 7)
    weight = random(12, 8 // groups, 3, 3, seed=1)
    bias = random(12, seed=2)
    out_size = [(side + 2 * padding - 2 * dilation - 1) // stride + 1 for side in (9, 7)]
    offset = random(2, deform_groups * 18, *out_size, seed=3) * 2
    mask = random(2, deform_groups * 9, *out_size, seed=4)
    settings = (stride, padding, dilation)
    expected = modulated_deform_conv2d(x, offset, mask, weight, bias, *settings, groups, deform_groups)
    pairs = [[setting] * 2 for setting in settings]
    got = decompositions.deform_conv2d(x, offset, mask, weight, bias, *pairs, groups, deform_groups, 1)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


def test_paste_masks():
    masks = random(6, 5, 7).sigmoid()
    boxes = torch.tensor([[3.3, 2.2, 17.7, 12.1], [-5, -4, 9, 8], [1, 1, 1, 9], [10, 4, 30, 40], [5, 5, 4, 9], [0] * 4])
    expected = paste_masks(masks, boxes, 20, 24)
    assert expected.flatten(1).any(1).tolist() == [True, True, False, True, False, False]
    got = decompositions.paste_masks(masks, boxes.double(), 20, 24, 0.5)
    assert got.dtype == torch.uint8
    assert torch.equal(got.bool(), expected)
    shades = decompositions.paste_masks(masks, boxes.double(), 20, 24, -1.0)
    assert (shades.int() - paste_masks(masks, boxes, 20, 24, -1.0).int()).abs().max() <= 1  # rounded down


def test_repeat_interleave():
    repeats = torch.tensor([2, 0, 3, 1])
    expected = torch.tensor([0, 0, 2, 2, 2, 3])
    assert torch.equal(decompositions.repeat_interleave(repeats, output_size=6), expected)
    assert torch.equal(decompositions.repeat_interleave(repeats), expected)
