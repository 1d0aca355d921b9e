"""Channel attention: squeeze and excitation, dynamic ReLU, and RTMDet's."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from .conv_module import ConvModule

_SE_ACTIVATIONS = ({'type': 'ReLU'}, {'type': 'Sigmoid'})
_DYRELU_ACTIVATIONS = ({'type': 'ReLU'}, {'type': 'HSigmoid', 'bias': 3.0, 'divisor': 6.0})


def _two_activations(act_cfg: dict | tuple[dict, dict]) -> tuple[dict, dict]:
    if isinstance(act_cfg, dict):
        return act_cfg, act_cfg
    if len(act_cfg) != 2 or not all(isinstance(cfg, dict) for cfg in act_cfg):
        raise ConfigError(f'act_cfg must be one activation config or a pair of them, but got {act_cfg!r}.')
    return tuple(act_cfg)


@MODELS.register_module()
class SELayer(BaseModule):
    """Squeeze and excitation (arXiv 1709.01507): scale the channels by weights computed from their means.

    Args:
        channels: Channels of the input.
        ratio: The hidden layer has ``int(channels / ratio)`` channels.
        conv_cfg: Config of the convolutions.
        act_cfg: Activation of both convolutions, or a pair.
        init_cfg: Initialisation.
    """

    def __init__(
        self,
        channels: int,
        ratio: int = 16,
        conv_cfg: dict | None = None,
        act_cfg: dict | tuple[dict, dict] = _SE_ACTIVATIONS,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        first, second = _two_activations(act_cfg)
        hidden = int(channels / ratio)
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.conv1 = ConvModule(channels, hidden, 1, conv_cfg=conv_cfg, act_cfg=first)
        self.conv2 = ConvModule(hidden, channels, 1, conv_cfg=conv_cfg, act_cfg=second)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` (N, C, H, W) with scaled channels."""
        return x * self.conv2(self.conv1(self.global_avgpool(x)))


@MODELS.register_module()
class DyReLU(BaseModule):
    """Dynamic ReLU, spatially shared and channel-wise (arXiv 2003.10027), the maximum of two lines computed from ``x``.

    Args:
        channels: Channels of the input.
        ratio: The hidden layer has ``int(channels / ratio)`` channels.
        conv_cfg: Config of the convolutions.
        act_cfg: Activation of both convolutions, or a pair; the second has values in [0, 1].
        init_cfg: Initialisation.
    """

    def __init__(
        self,
        channels: int,
        ratio: int = 4,
        conv_cfg: dict | None = None,
        act_cfg: dict | tuple[dict, dict] = _DYRELU_ACTIVATIONS,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        first, second = _two_activations(act_cfg)
        hidden = int(channels / ratio)
        self.channels = channels
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.conv1 = ConvModule(channels, hidden, 1, conv_cfg=conv_cfg, act_cfg=first)
        self.conv2 = ConvModule(hidden, channels * 4, 1, conv_cfg=conv_cfg, act_cfg=second)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``max(a1 * x + b1, a2 * x + b2)`` for ``x`` (N, C, H, W)."""
        residual = self.conv2(self.conv1(self.global_avgpool(x))) - 0.5
        a1, b1, a2, b2 = residual.split(self.channels, dim=1)
        return torch.maximum(x * (2 * a1 + 1) + b1, x * (2 * a2) + b2)


class ChannelAttention(BaseModule):
    """Channel attention of RTMDet (arXiv 2212.07784): one fully connected layer and a hard sigmoid.

    Args:
        channels: Channels of the input.
        init_cfg: Initialisation.
    """

    def __init__(self, channels: int, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg)
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Conv2d(channels, channels, 1)
        self.act = nn.Hardsigmoid(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` (N, C, H, W) with scaled channels."""
        with torch.autocast(x.device.type, enabled=False):
            mean = self.global_avgpool(x.to(self.fc.weight.dtype))
            scale = self.act(self.fc(mean))
        return x * scale.to(x.dtype)
