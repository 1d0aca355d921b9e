"""Inverted residual blocks, which expand, filter and project: those of MobileNets and EfficientNets."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError

from .conv_module import ConvModule
from .drop import DropPath
from .recompute import maybe_recompute
from .se_layer import SELayer


class EdgeResidual(BaseModule):
    """Expand by a full convolution, project: an inverted residual for hardware that is slow at depthwise convolutions.

    The block of EfficientNet-EdgeTPU, also in EfficientNetV2, arXiv 2104.00298.

    Args:
        mid_channels: Channels between expansion and projection.
        kernel_size, stride: Of the convolution that filters; the stride is 1 or 2, else there is a ``ConfigError``.
        se_cfg: Arguments of the ``SELayer`` before the projection; None for none.
        with_residual: Whether there is a shortcut, where shapes allow it.
        drop_path_rate: Probability of dropping the residual branch.
        with_cp: Whether to save memory in training by computing the forward pass twice.
    """

    projection = 'conv2'

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
            raise ConfigError(f'{type(self).__name__}: stride must be 1 or 2, but got {stride}.')
        self.with_residual = stride == 1 and in_channels == out_channels and with_residual
        self.with_cp = with_cp
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        shape = dict(kernel_size=kernel_size, stride=stride, padding=kernel_size // 2)
        parts = self._filter(in_channels, mid_channels, shape, dict(layers, act_cfg=act_cfg))
        if se_cfg is not None:
            parts['se'] = SELayer(**se_cfg)
        # linear: an activation would destroy information in so few channels (MobileNetV2, section 3.2)
        parts[self.projection] = ConvModule(mid_channels, out_channels, 1, act_cfg=None, **layers)
        self.part_names = list(parts)
        for name, part in parts.items():
            self.add_module(name, part)

    def _filter(self, in_channels: int, mid_channels: int, shape: dict, layers: dict) -> dict[str, nn.Module]:
        """What comes before attention and projection, by name; ``shape`` is that of the convolution that filters."""
        return {'conv1': ConvModule(in_channels, mid_channels, **shape, **layers)}

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        return maybe_recompute(self.with_cp, self._forward, x)

    def _forward(self, x: Tensor) -> Tensor:
        out = x
        for name in self.part_names:
            out = getattr(self, name)(out)
        return x + self.drop_path(out) if self.with_residual else out


class InvertedResidual(EdgeResidual):
    """Expand, filter depthwise, project (MobileNetV2, arXiv 1801.04381; with attention MobileNetV3, arXiv 1905.02244).

    The arguments are those of ``EdgeResidual``, and ``with_expand_conv``: whether there is an expansion. Without,
    ``mid_channels`` must equal ``in_channels``, else there is a ``ConfigError``.
    """

    projection = 'linear_conv'

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
        with_expand_conv: bool = True,
    ) -> None:
        # before ``super``, which makes the layers by ``_filter``
        self.with_expand_conv = with_expand_conv
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        options = dict(se_cfg=se_cfg, with_residual=with_residual, drop_path_rate=drop_path_rate, with_cp=with_cp)
        widths = (in_channels, out_channels, mid_channels)
        super().__init__(*widths, kernel_size, stride, init_cfg=init_cfg, **layers, **options)

    def _filter(self, in_channels: int, mid_channels: int, shape: dict, layers: dict) -> dict[str, nn.Module]:
        parts = {}
        if self.with_expand_conv:
            parts['expand_conv'] = ConvModule(in_channels, mid_channels, 1, **layers)
        elif mid_channels != in_channels:
            raise ConfigError(
                f'InvertedResidual without expansion needs mid_channels == in_channels, but got {mid_channels} and '
                f'{in_channels}.'
            )
        parts['depthwise_conv'] = ConvModule(mid_channels, mid_channels, groups=mid_channels, **shape, **layers)
        return parts
