"""Normed layers."""

import torch
import torch.nn.functional as F

from mmdetlike.models.layers import NormedConv2d, NormedLinear


def test_normed_layers_are_cosines():
    linear, x = NormedLinear(4, 3, tempearture=10), torch.randn(5, 4)
    assert float(linear.weight.detach().std()) < 0.03 and not linear.bias.any()
    expected = 10 * F.cosine_similarity(x[:, None], linear.weight[None], dim=-1)
    torch.testing.assert_close(linear(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(linear(3 * x), linear(x), rtol=1e-4, atol=1e-4)
    conv, image = NormedConv2d(4, 3, 1, bias=False), torch.randn(2, 4, 5, 5)
    expected = 20 * F.cosine_similarity(image[:, None], conv.weight[None], dim=2)
    torch.testing.assert_close(conv(image), expected, rtol=1e-4, atol=1e-4)
    over_kernel = NormedConv2d(4, 3, 3, padding=1, norm_over_kernel=True)
    over_kernel.weight.data *= 7
    weight = over_kernel.weight / over_kernel.weight.flatten(1).norm(dim=1)[:, None, None, None]
    expected = F.conv2d(20 * F.normalize(image, dim=1), weight, over_kernel.bias, padding=1)
    torch.testing.assert_close(over_kernel(image), expected, rtol=1e-3, atol=1e-4)
