"""Non-local block."""

import torch.nn.functional as F
from mmengine.model import constant_init, normal_init
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from .conv_module import ConvModule

_MODES = ('gaussian', 'embedded_gaussian', 'dot_product', 'concatenation')


@MODELS.register_module()
class NonLocal2d(nn.Module):
    """Non-local block (Non-local Neural Networks, arXiv 1711.07971): each pixel adds a mean over all pixels.

    Args:
        in_channels: Channels C of the input.
        reduction: The embeddings have ``in_channels // reduction`` channels, at least 1.
        use_scale: Whether ``'embedded_gaussian'`` divides by the root of their number.
        conv_cfg: Config of the convolutions.
        norm_cfg: Config of the norm layer of the last convolution; None for none.
        mode: How the weight of a pixel follows from a pair of them: ``'embedded_gaussian'``, the softmax of the product
            of their embeddings; ``'gaussian'``, of the pixels themselves; ``'dot_product'``, the product;
            ``'concatenation'``, a ReLU of a projection of both embeddings.
        sub_sample: Whether means are taken over 2x2 maxima of the embeddings.
        zeros_init: Whether the block starts as the identity.

    Raises:
        ConfigError: ``mode`` is unknown.
    """

    _abbr_ = 'nonlocal_block'

    def __init__(
        self,
        in_channels: int,
        reduction: int = 2,
        use_scale: bool = True,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        mode: str = 'embedded_gaussian',
        sub_sample: bool = False,
        zeros_init: bool = True,
    ) -> None:
        super().__init__()
        if mode not in _MODES:
            raise ConfigError(f'mode must be one of {_MODES}, but got {mode!r}.')
        self.in_channels = in_channels
        self.reduction = reduction
        self.use_scale = use_scale
        self.inter_channels = max(in_channels // reduction, 1)
        self.mode = mode
        self.sub_sample = sub_sample
        self._add_convs(conv_cfg, norm_cfg)
        self.init_weights(zeros_init=zeros_init)
        if sub_sample:
            self.g = nn.Sequential(self.g, nn.MaxPool2d(2))
            self.phi = nn.MaxPool2d(2) if mode == 'gaussian' else nn.Sequential(self.phi, nn.MaxPool2d(2))

    def _add_convs(self, conv_cfg: dict | None, norm_cfg: dict | None) -> None:
        channels, hidden = self.in_channels, self.inter_channels
        arguments = dict(conv_cfg=conv_cfg, act_cfg=None)
        self.g = ConvModule(channels, hidden, 1, **arguments)
        self.conv_out = ConvModule(hidden, channels, 1, norm_cfg=norm_cfg, **arguments)
        if self.mode != 'gaussian':
            self.theta = ConvModule(channels, hidden, 1, **arguments)
            self.phi = ConvModule(channels, hidden, 1, **arguments)
        if self.mode == 'concatenation':
            self.concat_project = ConvModule(2 * hidden, 1, 1, bias=False, act_cfg={'type': 'ReLU'})

    def init_weights(self, std: float = 0.01, zeros_init: bool = True) -> None:
        """Normal embeddings; the last layer is zero, or normal without ``zeros_init``."""
        for layer in (self.g,) if self.mode == 'gaussian' else (self.g, self.theta, self.phi):
            normal_init(layer.conv, std=std)
        last = self.conv_out.conv if self.conv_out.norm is None else self.conv_out.norm
        if zeros_init:
            constant_init(last, 0)
        else:
            normal_init(last, std=std)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` (N, C, H, W) with what its pixels add."""
        query = x if self.mode == 'gaussian' else self.theta(x)
        key = x if self.mode == 'gaussian' and not self.sub_sample else self.phi(x)
        means = self._means(*(_pixels(part) for part in (query, key, self.g(x))))
        means = means.transpose(1, 2).reshape(x.shape[0], self.inter_channels, *x.shape[2:])
        return x + self.conv_out(means)

    def _means(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Means of ``value`` (N, K, C') for ``query`` (N, Q, C) and ``key`` (N, K, C): (N, Q, C')."""
        if self.mode == 'dot_product':
            return query @ (key.transpose(1, 2) @ value) / key.shape[1]
        if self.mode == 'concatenation':
            to_query, to_key = self.concat_project.conv.weight.view(2, self.inter_channels)
            weights = self.concat_project.activate((query @ to_query)[:, :, None] + (key @ to_key)[:, None])
            return weights @ value / key.shape[1]
        scale = query.shape[-1] ** -0.5 if self.use_scale and self.mode == 'embedded_gaussian' else 1.0
        return F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], scale=scale)[:, 0]


def _pixels(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)
