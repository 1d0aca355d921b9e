"""Extra levels of SSD: Single Shot MultiBox Detector, arXiv 1512.02325."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule, L2Norm, conv_class
from mmdetlike.registry import MODELS

from .inputs import check_number

DEFAULT_ACT = dict(type='ReLU')
DEFAULT_INIT = [
    dict(type='Xavier', distribution='uniform', bias=0, layer='Conv2d'),
    dict(type='Constant', val=1, layer='BatchNorm2d'),
]


@MODELS.register_module()
class SSDNeck(BaseModule):
    """Normalize the first backbone map and make coarser levels from the last one, two convolutions each.

    Args:
        in_channels: Channels of each backbone map.
        out_channels: Channels of every map put out; the first ones are those of the backbone.
        level_strides, level_paddings: Stride and padding of each extra level.
        l2_norm_scale: Initial scale of the first map's normalization; None for none.
        last_kernel_size: Side of the last extra level's kernel.
        use_depthwise: Use depthwise separable convolutions.
        conv_cfg, norm_cfg, act_cfg: Convolution, norm layer and activation.

    Raises:
        ValueError: ``out_channels`` does not begin with ``in_channels``, or the extra levels' settings differ in
            number.

    Examples:
        >>> neck = SSDNeck((1024,), (1024, 512, 256, 256, 256), (2, 2, 1, 1), (1, 1, 0, 0))
        >>> [tuple(m.shape) for m in neck([torch.rand(1, 1024, 19, 19)])]
        [(1, 1024, 19, 19), (1, 512, 10, 10), (1, 256, 5, 5), (1, 256, 3, 3), (1, 256, 1, 1)]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        level_strides: Sequence[int],
        level_paddings: Sequence[int],
        l2_norm_scale: float | None = 20.0,
        last_kernel_size: int = 3,
        use_depthwise: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = DEFAULT_ACT,
        init_cfg: dict | list[dict] | None = DEFAULT_INIT,
    ) -> None:
        super().__init__(init_cfg)
        num_extra = len(out_channels) - len(in_channels)
        if num_extra < 1 or list(out_channels[: len(in_channels)]) != list(in_channels):
            raise ValueError(f'out_channels must be {list(in_channels)} and more, got {list(out_channels)}')
        if not num_extra == len(level_strides) == len(level_paddings):
            raise ValueError(
                f'{num_extra} extra levels need as many level_strides and level_paddings, got '
                f'{list(level_strides)} and {list(level_paddings)}'
            )
        self.num_ins = len(in_channels)
        if l2_norm_scale is not None:
            self.l2_norm = L2Norm(in_channels[0], l2_norm_scale)
        conv = conv_class(use_depthwise)
        common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        kernel_sizes = [3] * (num_extra - 1) + [last_kernel_size]
        self.extra_layers = nn.ModuleList()
        channels = out_channels[self.num_ins - 1]
        levels = zip(out_channels[self.num_ins :], kernel_sizes, level_strides, level_paddings)
        for width, kernel, stride, padding in levels:
            reduce = ConvModule(channels, width // 2, 1, **common)
            shrink = conv(width // 2, width, kernel, stride=stride, padding=padding, **common)
            self.extra_layers.append(nn.Sequential(reduce, shrink))
            channels = width

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (B, C_i, H_i, W_i), fine to coarse -> all maps (B, out_channels_i, H_i, W_i)."""
        check_number(self, inputs, self.num_ins)
        outs = list(inputs)
        for layer in self.extra_layers:
            outs.append(layer(outs[-1]))
        if hasattr(self, 'l2_norm'):
            # conv4_3 of VGG has values of another magnitude than later layers (ParseNet, arXiv 1506.04579)
            outs[0] = self.l2_norm(outs[0])
        return tuple(outs)
