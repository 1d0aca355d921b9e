"""Global context block, GCNet's attention."""

from collections.abc import Sequence

from torch import Tensor, nn

from ._checks import check_choice, check_float, check_shape

_FUSIONS = ('channel_add', 'channel_mul')


class ContextBlock(nn.Module):
    """Global context block (GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond, arXiv 1904.11492).

    A context vector, pooled from the whole map, goes through two 1x1 convolutions and is fused with every pixel.

    Args:
        in_channels: Channels c of the input.
        ratio: The layer between the convolutions has ``int(in_channels * ratio)`` channels.
        pooling_type: ``'att'``, a mean weighted by attention, or ``'avg'``, the mean.
        fusion_types: ``'channel_add'``, ``'channel_mul'`` (the sigmoid as a factor; it comes first), or both.

    Raises:
        ValueError: ``pooling_type`` or ``fusion_types`` is unknown, or ``ratio`` leaves no channel.
    """

    _abbr_ = 'context_block'  # its name in a backbone that takes it as a plugin

    def __init__(
        self,
        in_channels: int,
        ratio: float,
        pooling_type: str = 'att',
        fusion_types: Sequence[str] = ('channel_add',),
    ) -> None:
        super().__init__()
        check_choice('ContextBlock', 'pooling_type', pooling_type, ('att', 'avg'))
        if not isinstance(fusion_types, (list, tuple)) or not fusion_types or set(fusion_types) - set(_FUSIONS):
            raise ValueError(f'ContextBlock: fusion_types is {fusion_types!r}, a list out of {_FUSIONS} is expected')
        hidden = int(in_channels * ratio)
        if hidden < 1:
            raise ValueError(f'ContextBlock: ratio is {ratio}, at least 1 / {in_channels} (in_channels) is expected')
        self.in_channels = in_channels
        self.conv_mask = nn.Conv2d(in_channels, 1, 1) if pooling_type == 'att' else None
        self.channel_add_conv = _bottleneck(in_channels, hidden) if 'channel_add' in fusion_types else None
        self.channel_mul_conv = _bottleneck(in_channels, hidden) if 'channel_mul' in fusion_types else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start from no context: the last convolutions are zero."""
        if self.conv_mask is not None:
            nn.init.kaiming_normal_(self.conv_mask.weight, mode='fan_in', nonlinearity='relu')
            nn.init.zeros_(self.conv_mask.bias)
        for layers in (self.channel_add_conv, self.channel_mul_conv):
            if layers is not None:
                nn.init.zeros_(layers[-1].weight)
                nn.init.zeros_(layers[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        """Fuse ``x`` (n, in_channels, h, w) with its context.

        Raises:
            TypeError, ValueError: ``x`` is no floating tensor of that shape.
        """
        check_float('ContextBlock', 'x', x)
        check_shape('ContextBlock', 'x', x, ('n', self.in_channels, 'h', 'w'))
        context = self._pool(x)
        out = x
        if self.channel_mul_conv is not None:
            out = out * self.channel_mul_conv(context).sigmoid()
        if self.channel_add_conv is not None:
            out = out + self.channel_add_conv(context)
        return out

    def _pool(self, x: Tensor) -> Tensor:
        if self.conv_mask is None:
            return x.mean((2, 3), keepdim=True)
        attention = self.conv_mask(x).flatten(2).softmax(dim=2)
        return (x.flatten(2) @ attention.transpose(1, 2))[..., None]


def _bottleneck(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1),
        nn.LayerNorm([hidden, 1, 1]),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, channels, 1),
    )
