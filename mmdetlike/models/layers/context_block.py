"""Global context block."""

from collections.abc import Sequence

from mmengine.model import constant_init, kaiming_init
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS


@MODELS.register_module()
class ContextBlock(nn.Module):
    """Global context block (GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond, arXiv 1904.11492).

    One pixel of context, pooled from the whole map, goes through two 1x1 convolutions and is fused with every pixel.

    Args:
        in_channels: Channels C of the input.
        ratio: The layer between the convolutions has ``int(in_channels * ratio)`` channels.
        pooling_type: ``'att'``, a mean weighted by attention, or ``'avg'``, the mean.
        fusion_types: ``'channel_add'``, ``'channel_mul'`` (the sigmoid as a factor; it comes first), or both.

    Raises:
        ConfigError: ``pooling_type`` or ``fusion_types`` is unknown.
    """

    _abbr_ = 'context_block'

    def __init__(
        self,
        in_channels: int,
        ratio: float,
        pooling_type: str = 'att',
        fusion_types: Sequence[str] = ('channel_add',),
    ) -> None:
        super().__init__()
        if pooling_type not in ('att', 'avg'):
            raise ConfigError(f"pooling_type must be 'att' or 'avg', but got {pooling_type!r}.")
        if not isinstance(fusion_types, (list, tuple)) or set(fusion_types) - {'channel_add', 'channel_mul'}:
            raise ConfigError(f"fusion_types must list 'channel_add' or 'channel_mul', but got {fusion_types!r}.")
        if not fusion_types:
            raise ConfigError('fusion_types must not be empty.')
        hidden = int(in_channels * ratio)
        self.conv_mask = nn.Conv2d(in_channels, 1, 1) if pooling_type == 'att' else None
        self.channel_add_conv = _bottleneck(in_channels, hidden) if 'channel_add' in fusion_types else None
        self.channel_mul_conv = _bottleneck(in_channels, hidden) if 'channel_mul' in fusion_types else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start from no context: the last convolutions are zero."""
        if self.conv_mask is not None:
            kaiming_init(self.conv_mask, mode='fan_in')
        for layers in (self.channel_add_conv, self.channel_mul_conv):
            if layers is not None:
                constant_init(layers[-1], val=0)

    def forward(self, x: Tensor) -> Tensor:
        """Fuse ``x`` (N, C, H, W) with its context."""
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
