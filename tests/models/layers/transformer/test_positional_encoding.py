"""Where a pixel or a box is, as features."""

import math

import pytest
import torch

from mmdetlike.models.layers import (
    LearnedPositionalEncoding,
    SinePositionalEncoding,
    coordinate_to_encoding,
    inverse_sigmoid,
)


def test_sine_encoding_by_hand():
    encoding = SinePositionalEncoding(4, temperature=100)(torch.zeros(1, 2, 3, dtype=torch.bool))
    assert encoding.shape == (1, 8, 2, 3)
    y, x = 2.0, 3.0  # of the last pixel, counted from 1
    expected = [math.sin(y), math.cos(y), math.sin(y / 10), math.cos(y / 10)]
    expected += [math.sin(x), math.cos(x), math.sin(x / 10), math.cos(x / 10)]
    assert encoding[0, :, 1, 2].tolist() == pytest.approx(expected, abs=1e-6)


def test_sine_encoding_normalises_by_the_image_within_the_map():
    mask = torch.zeros(2, 4, 6, dtype=torch.bool)
    mask[1, 2:], mask[1, :, 3:] = True, True
    encode = SinePositionalEncoding(8, normalize=True, offset=-0.5)
    encoding = encode(mask)
    torch.testing.assert_close(encoding[1:, :, :2, :3], encode(torch.zeros(1, 2, 3)))
    y = (1 - 0.5) / (4 + 1e-6) * 2 * math.pi
    assert float(encoding[0, 0, 0, 0]) == pytest.approx(math.sin(y), abs=1e-6)
    assert 'offset=-0.5' in repr(encode)


def test_sine_encoding_by_input():
    encode = SinePositionalEncoding(4, normalize=True)
    expected = encode(torch.zeros(2, 3, 5, dtype=torch.bool))
    torch.testing.assert_close(encode(mask=None, input=torch.rand(2, 7, 3, 5)), expected)
    with pytest.raises(ValueError, match='needs a mask or an input'):
        encode(None)


def test_learned_encoding():
    encode = LearnedPositionalEncoding(3, row_num_embed=4, col_num_embed=5)
    encode.init_weights()
    assert float(encode.row_embed.weight.detach().min()) >= 0  # uniform in [0, 1), not normal
    encoding = encode(torch.zeros(2, 4, 5))
    assert encoding.shape == (2, 6, 4, 5)
    expected = torch.cat([encode.col_embed.weight[3], encode.row_embed.weight[1]])
    torch.testing.assert_close(encoding[1, :, 1, 3], expected)
    with pytest.raises(ValueError, match='5x5 needs as many embeddings, but there are row_num_embed=4'):
        encode(torch.zeros(1, 5, 5))


def test_coordinate_encoding_puts_y_first():
    boxes = torch.rand(2, 3, 4)
    encoding = coordinate_to_encoding(boxes, num_feats=6, temperature=20)
    assert encoding.shape == (2, 3, 24)
    torch.testing.assert_close(encoding[..., :12], coordinate_to_encoding(boxes[..., :2], num_feats=6, temperature=20))
    torch.testing.assert_close(encoding[..., 0], (boxes[..., 1] * 2 * math.pi).sin())
    torch.testing.assert_close(encoding[..., 7], (boxes[..., 0] * 2 * math.pi).cos())
    torch.testing.assert_close(encoding[..., 20], (boxes[..., 3] * 2 * math.pi / 20 ** (2 / 6)).sin())
    with pytest.raises(ValueError, match=r'must be \(..., 2\) or \(..., 4\), but got \(2, 3\)'):
        coordinate_to_encoding(torch.rand(2, 3))


def test_inverse_sigmoid():
    x = torch.linspace(0.001, 0.999, 50)
    torch.testing.assert_close(inverse_sigmoid(x).sigmoid(), x)
    assert inverse_sigmoid(torch.tensor([-1.0, 0.0, 1.0, 2.0])).tolist() == pytest.approx(
        [math.log(1e-5)] * 2 + [-math.log(1e-5)] * 2
    )
