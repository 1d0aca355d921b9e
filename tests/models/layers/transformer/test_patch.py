"""Patches of images."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import AdaptivePadding, PatchEmbed, PatchMerging, nchw_to_nlc, nlc_to_nchw

B, L, S, C, HEADS = 2, 5, 7, 32, 4


SIZES = st.tuples(st.integers(1, 20), st.integers(1, 20))


def test_sequences_and_maps():
    x = torch.randn(1, 6, 4)
    image = nlc_to_nchw(x, (2, 3))
    assert image.shape == (1, 4, 2, 3)
    assert image[0, :, 1, 0].tolist() == x[0, 3].tolist()
    assert image.is_contiguous(memory_format=torch.channels_last) and image.stride(0) == 24
    assert nchw_to_nlc(image).data_ptr() == x.data_ptr()
    torch.testing.assert_close(nchw_to_nlc(image), x)
    with pytest.raises(ValueError, match=r'x must be \(N, 3 \* 3, C\), but got \(1, 6, 4\)'):
        nlc_to_nchw(x, (3, 3))


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.sampled_from(['corner', 'same']))
def test_adaptive_padding_covers_every_pixel_and_no_more(size, kernel, stride, dilation, where):
    pad = AdaptivePadding(kernel, stride, dilation, where)
    x = torch.ones(1, 1, *size)
    out = pad(x)
    assert out.sum() == x.sum()
    for padded, length in zip(out.shape[2:], size):
        windows = -(-length // stride)
        reach = (windows - 1) * stride + dilation * (kernel - 1) + 1
        assert padded == max(reach, length)
        assert (padded - dilation * (kernel - 1) - 1) // stride + 1 >= windows
    rows = pad.get_pad_shape(size)[0]
    top = rows // 2 if where == 'same' else 0
    assert float(out[0, 0, :top].sum()) == 0 and float(out[0, 0, top].sum()) == size[1]


def test_adaptive_padding_refuses():
    with pytest.raises(ConfigError, match="padding must be 'same' or 'corner', but got 'center'"):
        AdaptivePadding(padding='center')


@pytest.mark.parametrize('padding', ['corner', 'same', 1])
@pytest.mark.parametrize('size', [(16, 12), (13, 10)])
def test_patch_embed_says_its_size(padding, size):
    embed = PatchEmbed(3, 8, kernel_size=4, stride=3, padding=padding, norm_cfg=dict(type='LN'), input_size=size)
    x = torch.rand(2, 3, *size)
    out, out_size = embed(x)
    assert out.shape == (2, out_size[0] * out_size[1], 8)
    assert embed.init_out_size == out_size == embed.output_size(size)
    padded = x if padding == 1 else embed.adaptive_padding(x)
    assert embed.init_input_size == padded.shape[2:]
    expected = F.conv2d(padded, embed.projection.weight, embed.projection.bias, stride=3, padding=int(padding == 1))
    torch.testing.assert_close(out, embed.norm(expected.flatten(2).transpose(1, 2)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('size', [(4, 6), (5, 7)])
@pytest.mark.parametrize('kwargs', [{}, dict(kernel_size=3, stride=2, padding=1), dict(stride=1, dilation=2)])
def test_patch_merging_is_unfold_norm_linear(size, kwargs):
    merge = PatchMerging(3, 5, **kwargs)
    x = torch.randn(2, size[0] * size[1], 3)
    out, out_size = merge(x, size)
    image = x.transpose(1, 2).reshape(2, 3, *size)
    image = merge.adaptive_padding(image) if merge.adaptive_padding else image
    columns = F.unfold(image, merge.kernel_size, merge.dilation, merge.padding, merge.stride).transpose(1, 2)
    torch.testing.assert_close(out, merge.reduction(merge.norm(columns)))
    assert out.shape[1] == out_size[0] * out_size[1]
