"""Non-local blocks."""

import torch.nn.functional as F
from torch import Tensor, nn

from ._checks import check_choice, check_float, check_shape
from .layer_configs import ConvNorm, fill_bias

_MODES = ('gaussian', 'embedded_gaussian', 'dot_product', 'concatenation')
_AXES = {1: ('w',), 2: ('h', 'w'), 3: ('d', 'h', 'w')}
_MAX_POOL = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}


class _NonLocal(nn.Module):
    """The non-local block for any number of dimensions; see `NonLocal2d`."""

    _abbr_ = 'nonlocal_block'  # its name in a backbone that takes it as a plugin
    _dimensions = 2

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
        self._name = type(self).__name__
        check_choice(self._name, 'mode', mode, _MODES)
        for name, value in (('in_channels', in_channels), ('reduction', reduction)):
            if value < 1:
                raise ValueError(f'{self._name}: {name} is {value}, a positive number is expected')
        self.in_channels = in_channels
        self.reduction = reduction
        self.use_scale = use_scale
        self.inter_channels = max(in_channels // reduction, 1)
        self.mode = mode
        self.sub_sample = sub_sample
        self._add_convs({'type': f'Conv{self._dimensions}d'} if conv_cfg is None else conv_cfg, norm_cfg)
        self.init_weights(zeros_init=zeros_init)
        if sub_sample:
            pool = _MAX_POOL[self._dimensions]
            self.g = nn.Sequential(self.g, pool(2))
            self.phi = pool(2) if mode == 'gaussian' else nn.Sequential(self.phi, pool(2))

    def _add_convs(self, conv_cfg: dict, norm_cfg: dict | None) -> None:
        channels = self.in_channels
        hidden = self.inter_channels
        self.g = ConvNorm(self._name, channels, hidden, conv_cfg)
        self.conv_out = ConvNorm(self._name, hidden, channels, conv_cfg, norm_cfg)
        if self.mode != 'gaussian':
            self.theta = ConvNorm(self._name, channels, hidden, conv_cfg)
            self.phi = ConvNorm(self._name, channels, hidden, conv_cfg)
        if self.mode == 'concatenation':
            self.concat_project = ConvNorm(self._name, 2 * hidden, 1, {'type': 'Conv2d'}, bias=False)

    def init_weights(self, std: float = 0.01, zeros_init: bool = True) -> None:
        """Normal embeddings; the last layer is zero, or normal without ``zeros_init``."""
        names = ('g',) if self.mode == 'gaussian' else ('g', 'theta', 'phi')
        embeddings = [getattr(self, name) for name in names]
        for layer in (part[0] if isinstance(part, nn.Sequential) else part for part in embeddings):
            nn.init.normal_(layer.conv.weight, std=std)
            fill_bias(layer.conv)
        last = self.conv_out.conv if self.conv_out.norm is None else self.conv_out.norm
        if getattr(last, 'weight', None) is not None:
            nn.init.zeros_(last.weight) if zeros_init else nn.init.normal_(last.weight, std=std)
        fill_bias(last)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, ...) to the same shape: `x` with what its pixels add.

        Raises:
            TypeError, ValueError: `x` is no floating tensor of that shape.
        """
        check_float(self._name, 'x', x)
        check_shape(self._name, 'x', x, ('n', self.in_channels, *_AXES[self._dimensions]))
        query = x if self.mode == 'gaussian' else self.theta(x)
        key = x if self.mode == 'gaussian' and not self.sub_sample else self.phi(x)
        means = self._means(*(_pixels(part) for part in (query, key, self.g(x))))
        means = means.transpose(1, 2).reshape(x.shape[0], self.inter_channels, *x.shape[2:])
        return x + self.conv_out(means)

    def _means(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Means of `value` (n, k, c') for `query` (n, q, c) and `key` (n, k, c): (n, q, c')."""
        if self.mode == 'dot_product':
            # without a softmax the product is associative: (c, c') is formed instead of (q, k)
            return query @ (key.transpose(1, 2) @ value) / key.shape[1]
        if self.mode == 'concatenation':
            # a projection of a pair is the sum of one of each part: the pairs needn't be formed
            to_query, to_key = self.concat_project.conv.weight.view(2, self.inter_channels)
            weights = F.relu((query @ to_query)[:, :, None] + (key @ to_key)[:, None])
            return weights @ value / key.shape[1]
        scale = query.shape[-1] ** -0.5 if self.use_scale and self.mode == 'embedded_gaussian' else 1.0
        return F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], scale=scale)[:, 0]


def _pixels(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


class NonLocal1d(_NonLocal):
    """`NonLocal2d` of sequences (n, c, w); `norm_cfg` takes `BN1d`, `GN`, `SyncBN` or `IN1d`."""

    _dimensions = 1


class NonLocal2d(_NonLocal):
    """Non-local block (Non-local Neural Networks, arXiv 1711.07971): each pixel adds a mean over all pixels.

    Args:
        in_channels: Channels c of the input.
        reduction: The embeddings have ``in_channels // reduction`` channels, at least 1.
        use_scale: Whether ``'embedded_gaussian'`` divides by the root of their number.
        conv_cfg: The convolutions: ``type``, a class or the name of one of torch's, and arguments; None for torch's.
        norm_cfg: The norm layer of the last convolution: ``type``, a class or ``'BN'``, ``'SyncBN'``, ``'FrozenBN'``,
            ``'GN'`` or ``'IN'``, and arguments; None for none.
        mode: How the weight of a pixel follows from a pair of them: ``'embedded_gaussian'``, the softmax of the product
            of their embeddings; ``'gaussian'``, of the pixels themselves; ``'dot_product'``, the product;
            ``'concatenation'``, a ReLU of a projection of both embeddings.
        sub_sample: Whether means are taken over 2x2 maxima of the embeddings.
        zeros_init: Whether the block starts as the identity.

    Raises:
        TypeError, ValueError: ``mode`` or the ``type`` of a config is unknown, or an argument is wrong.
    """


class NonLocal3d(_NonLocal):
    """`NonLocal2d` of videos (n, c, d, h, w); `norm_cfg` takes `BN3d`, `GN`, `SyncBN` or `IN3d`."""

    _dimensions = 3
