"""Residual block of EfficientNet-EdgeTPU, also in EfficientNetV2, arXiv 2104.00298."""

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmdetlike.errors import ConfigError

from .conv_module import ConvModule
from .drop import DropPath
from .se_layer import SELayer


class EdgeResidual(BaseModule):
    """Expand by a full convolution, project: an inverted residual for hardware that is slow at depthwise convolutions.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        mid_channels: Channels between the two convolutions.
        kernel_size: Of the first convolution, like ``stride``, 1 or 2.
        stride: Stride of the first convolution.
        se_cfg: Arguments of the ``SELayer`` between the convolutions; None for none.
        with_residual: Whether there is a shortcut, where shapes allow it.
        conv_cfg: Config of the convolutions.
        norm_cfg: Config of the norm layers.
        act_cfg: Config of the activation.
        drop_path_rate: Probability of dropping the residual branch.
        with_cp: Whether to save memory in training by computing the forward pass twice.
        init_cfg: Initialisation.

    Raises:
        ConfigError: ``stride`` is neither 1 nor 2.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mid_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        se_cfg: dict | None = None,
        with_residual: bool = True,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = {'type': 'BN'},  # noqa: B006
        act_cfg: dict | None = {'type': 'ReLU'},  # noqa: B006
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if stride not in (1, 2):
            raise ConfigError(f'EdgeResidual: stride must be 1 or 2, but got {stride}.')
        self.with_residual = stride == 1 and in_channels == out_channels and with_residual
        self.with_cp = with_cp
        self.with_se = se_cfg is not None
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()
        common = {'conv_cfg': conv_cfg, 'norm_cfg': norm_cfg}
        self.conv1 = ConvModule(
            in_channels,
            mid_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            act_cfg=act_cfg,
            **common,
        )
        if self.with_se:
            self.se = SELayer(**se_cfg)
        self.conv2 = ConvModule(mid_channels, out_channels, 1, act_cfg=None, **common)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        if self.with_cp and x.requires_grad:
            return checkpoint(self._forward, x, use_reentrant=False)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        out = self.conv1(x)
        if self.with_se:
            out = self.se(out)
        out = self.conv2(out)
        return x + self.drop_path(out) if self.with_residual else out
