"""Feed-forward networks."""

import pytest
import torch
import torch.nn.functional as F

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import FFN, MLP, DynamicConv


def test_ffn():
    ffn, x, other = FFN(8, 16, num_fcs=3).eval(), torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    plain = ffn.layers[2](F.relu(ffn.layers[1][0](F.relu(ffn.layers[0][0](x)))))
    torch.testing.assert_close(ffn(x), x + plain)
    torch.testing.assert_close(ffn(x, identity=other), other + plain)
    ffn.add_identity = False
    torch.testing.assert_close(ffn(x), plain)
    scaled = FFN(8, 16, num_fcs=3, layer_scale_init_value=0.5, add_identity=False)
    scaled.load_state_dict(ffn.state_dict(), strict=False)
    torch.testing.assert_close(scaled(x), 0.5 * plain)
    with pytest.raises(ConfigError, match='num_fcs must be at least 2, but got 1'):
        FFN(num_fcs=1)


def test_mlp():
    mlp, x = MLP(4, 8, 2, 3), torch.randn(5, 4)
    expected = mlp.layers[2](F.relu(mlp.layers[1](F.relu(mlp.layers[0](x)))))
    torch.testing.assert_close(mlp(x), expected)


def test_dynamic_conv_uses_each_regions_own_kernels():
    conv = DynamicConv(6, 3, input_feat_shape=2).eval()
    embedding, feature = torch.randn(4, 6), torch.randn(4, 6, 2, 2)
    params = conv.dynamic_layer(embedding)
    rows = []
    for i in range(4):
        x = feature[i].flatten(1).t() @ params[i, :18].view(6, 3)
        x = F.relu(conv.norm_in(x)) @ params[i, 18:].view(3, 6)
        rows.append(F.relu(conv.norm_out(x)))
    torch.testing.assert_close(
        conv(embedding, feature), F.relu(conv.fc_norm(conv.fc_layer(torch.stack(rows).flatten(1))))
    )
    conv.with_proj = False
    torch.testing.assert_close(conv(embedding, feature), torch.stack(rows))
    assert conv(embedding[:0], feature[:0]).shape == (0, 4, 6)
