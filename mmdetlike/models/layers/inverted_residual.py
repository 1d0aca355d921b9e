"""Inverted residual block of MobileNets and EfficientNets."""

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmdetlike.errors import ConfigError

from .conv_module import ConvModule
from .drop import DropPath
from .se_layer import SELayer


class InvertedResidual(BaseModule):
    """Expand, filter depthwise, project (MobileNetV2, arXiv 1801.04381; with attention MobileNetV3, arXiv 1905.02244).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        mid_channels: Channels of the depthwise convolution.
        kernel_size: Of the depthwise convolution.
        stride: Of the depthwise convolution, 1 or 2.
        se_cfg: Arguments of the ``SELayer`` after the depthwise convolution; None for none.
        with_expand_conv: Whether there is an expansion; without, ``mid_channels`` must equal ``in_channels``.
        conv_cfg: Config of the convolutions.
        norm_cfg: Config of the norm layers.
        act_cfg: Config of the activations.
        drop_path_rate: Probability of dropping the residual branch.
        with_cp: Whether to save memory in training by computing the forward pass twice.
        init_cfg: Initialisation.

    Raises:
        ConfigError: ``stride`` is neither 1 nor 2, or ``mid_channels`` differs from ``in_channels`` without expansion.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mid_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        se_cfg: dict | None = None,
        with_expand_conv: bool = True,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = {'type': 'BN'},  # noqa: B006
        act_cfg: dict | None = {'type': 'ReLU'},  # noqa: B006
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if stride not in (1, 2):
            raise ConfigError(f'InvertedResidual: stride must be 1 or 2, but got {stride}.')
        if not with_expand_conv and mid_channels != in_channels:
            raise ConfigError(
                f'InvertedResidual without expansion needs mid_channels == in_channels, but got {mid_channels} and '
                f'{in_channels}.'
            )
        self.with_res_shortcut = stride == 1 and in_channels == out_channels
        self.with_cp = with_cp
        self.with_se = se_cfg is not None
        self.with_expand_conv = with_expand_conv
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()
        common = {'conv_cfg': conv_cfg, 'norm_cfg': norm_cfg}
        if with_expand_conv:
            self.expand_conv = ConvModule(in_channels, mid_channels, 1, act_cfg=act_cfg, **common)
        self.depthwise_conv = ConvModule(
            mid_channels,
            mid_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=mid_channels,
            act_cfg=act_cfg,
            **common,
        )
        if self.with_se:
            self.se = SELayer(**se_cfg)
        self.linear_conv = ConvModule(mid_channels, out_channels, 1, act_cfg=None, **common)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        if self.with_cp and x.requires_grad:
            return checkpoint(self._forward, x, use_reentrant=False)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        out = self.expand_conv(x) if self.with_expand_conv else x
        out = self.depthwise_conv(out)
        if self.with_se:
            out = self.se(out)
        out = self.linear_conv(out)
        return x + self.drop_path(out) if self.with_res_shortcut else out
