"""Channel attention: squeeze and excitation, dynamic ReLU, and RTMDet's."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from .conv_module import ConvModule

_SE_ACTIVATIONS = ({'type': 'ReLU'}, {'type': 'Sigmoid'})
_DYRELU_ACTIVATIONS = ({'type': 'ReLU'}, {'type': 'HSigmoid', 'bias': 3.0, 'divisor': 6.0})


@MODELS.register_module()
class SELayer(BaseModule):
    """Squeeze and excitation (arXiv 1709.01507): scale the channels by weights computed from their means.

    Args:
        channels: Channels of the input.
        ratio: The hidden layer has ``int(channels / ratio)`` channels.
        conv_cfg: Config of the convolutions.
        act_cfg: Activation of both convolutions, or a pair.
        hidden_channels: Channels of the hidden layer in place of those that ``ratio`` gives.

    Raises:
        ConfigError: ``act_cfg`` is neither a config nor a pair.
    """

    outputs = 1  # for each channel

    def __init__(
        self,
        channels: int,
        ratio: int = 16,
        conv_cfg: dict | None = None,
        act_cfg: dict | tuple[dict, dict] = _SE_ACTIVATIONS,
        init_cfg: dict | list[dict] | None = None,
        hidden_channels: int | None = None,
    ) -> None:
        super().__init__(init_cfg)
        pair = (act_cfg, act_cfg) if isinstance(act_cfg, dict) else tuple(act_cfg)
        if len(pair) != 2 or not all(isinstance(cfg, dict) for cfg in pair):
            raise ConfigError(f'act_cfg must be one activation config or a pair of them, but got {act_cfg!r}.')
        self.channels = channels
        hidden = int(channels / ratio) if hidden_channels is None else hidden_channels
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.conv1 = ConvModule(channels, hidden, 1, conv_cfg=conv_cfg, act_cfg=pair[0])
        self.conv2 = ConvModule(hidden, channels * self.outputs, 1, conv_cfg=conv_cfg, act_cfg=pair[1])

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` (N, C, H, W) with scaled channels."""
        return x * self.excite(x)

    def excite(self, x: Tensor) -> Tensor:
        """(N, C * outputs, 1, 1) from the means of ``x`` (N, C, H, W)."""
        return self.conv2(self.conv1(self.global_avgpool(x)))


@MODELS.register_module()
class DyReLU(SELayer):
    """Dynamic ReLU, spatially shared and channel-wise (arXiv 2003.10027), the maximum of two lines computed from ``x``.

    Args:
        channels, ratio, conv_cfg: As of ``SELayer``.
        act_cfg: As of ``SELayer``; the activation of the second convolution has values in [0, 1].
    """

    outputs = 4

    def __init__(
        self,
        channels: int,
        ratio: int = 4,
        act_cfg: dict | tuple[dict, dict] = _DYRELU_ACTIVATIONS,
        conv_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(channels, ratio, conv_cfg, act_cfg, init_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``max(a1 * x + b1, a2 * x + b2)`` for ``x`` (N, C, H, W)."""
        # outputs in [0, 1] become deviations in [-0.5, 0.5] from the plain ReLU, max(x, 0): a1 = 1, a2 = b1 = b2 = 0
        a1, b1, a2, b2 = (self.excite(x) - 0.5).split(self.channels, dim=1)
        return torch.maximum(x * (2 * a1 + 1) + b1, x * (2 * a2) + b2)


class ChannelAttention(BaseModule):
    """Channel attention of RTMDet (arXiv 2212.07784): one fully connected layer and a hard sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Conv2d(channels, channels, 1)
        self.act = nn.Hardsigmoid(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` (N, C, H, W) with scaled channels."""
        # a mean over a large map loses too much in half precision
        with torch.autocast(x.device.type, enabled=False):
            mean = self.global_avgpool(x.to(self.fc.weight.dtype))
            scale = self.act(self.fc(mean))
        return x * scale.to(x.dtype)
