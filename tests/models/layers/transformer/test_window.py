"""Attention within windows."""

import pytest
import torch
from torch import nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ShiftWindowMSA


def test_window_attention_sees_its_window_only():
    torch.manual_seed(0)
    attention = ShiftWindowMSA(8, 2, window_size=4, shift_size=2).eval()
    nn.init.normal_(attention.w_msa.relative_position_bias_table)
    x = torch.randn(1, 64, 8)
    changed = x.clone()
    changed[0, 0] += 1  # the pixel in the corner, whose shifted window is 2x2
    moved = (attention(x, (8, 8)) - attention(changed, (8, 8))).abs().sum(-1).view(8, 8) > 1e-5
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[:2, :2] = True
    assert torch.equal(moved, expected)
    attention.shift_size = 0
    moved = (attention(x, (8, 8)) - attention(changed, (8, 8))).abs().sum(-1).view(8, 8) > 1e-5
    expected[:4, :4] = True
    assert torch.equal(moved, expected)
    with pytest.raises(ConfigError, match=r'shift_size must be in \[0, window_size=4\), but got 4'):
        ShiftWindowMSA(8, 2, window_size=4, shift_size=4)


def test_window_attention_bias_belongs_to_offsets():
    """With a table that favors one offset by far, each pixel copies the value of its neighbor there."""
    attention = ShiftWindowMSA(4, 1, window_size=3).eval()
    msa = attention.w_msa
    nn.init.zeros_(msa.qkv.weight[:8])
    msa.qkv.weight.data[:8], msa.qkv.bias.data[:] = 0, 0
    msa.qkv.weight.data[8:], msa.proj.weight.data, msa.proj.bias.data[:] = torch.eye(4), torch.eye(4), 0
    # the key one row above and one column to the left: offset (1, 1) of (query - key), of -2..2 each
    msa.relative_position_bias_table.data[(1 + 2) * 5 + (1 + 2)] = 100.0
    x = torch.randn(1, 9, 4)
    out = attention(x, (3, 3)).view(3, 3, 4)
    torch.testing.assert_close(out[1:, 1:], x.view(3, 3, 4)[:2, :2])
