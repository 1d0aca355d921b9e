"""The neck of query detectors, one convolution for each level: Deformable DETR, arXiv 2010.04159."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .inputs import check_number

DEFAULT_ACT = dict(type='ReLU')
DEFAULT_INIT = dict(type='Xavier', layer='Conv2d', distribution='uniform')


@MODELS.register_module()
class ChannelMapper(BaseModule):
    """Bring all backbone maps to one number of channels, and make coarser ones.

    Args:
        in_channels, out_channels: Channels of each backbone map, and of every map put out.
        kernel_size: Of the convolutions on backbone maps.
        conv_cfg, norm_cfg, act_cfg: Convolution, norm layer and activation.
        bias: Whether convolutions have a bias; ``'auto'`` gives them one if there is no norm layer.
        num_outs: Number of maps put out; those beyond the backbone's are made by strided convolutions, the first one
            on the last backbone map, the others on the map before.

    Raises:
        ValueError: ``num_outs`` is less than the number of backbone maps.

    Examples:
        >>> neck = ChannelMapper([2, 3], 4, num_outs=3)
        >>> [tuple(m.shape) for m in neck([torch.rand(1, 2, 8, 8), torch.rand(1, 3, 4, 4)])]
        [(1, 4, 8, 8), (1, 4, 4, 4), (1, 4, 2, 2)]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        kernel_size: int = 3,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = DEFAULT_ACT,
        bias: bool | str = 'auto',
        num_outs: int | None = None,
        init_cfg: dict | list[dict] | None = DEFAULT_INIT,
    ) -> None:
        super().__init__(init_cfg)
        num_outs = len(in_channels) if num_outs is None else num_outs
        if num_outs < len(in_channels):
            raise ValueError(
                f'num_outs must be at least {len(in_channels)}, the number of backbone maps, got {num_outs}'
            )
        common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg, bias=bias)
        self.convs = nn.ModuleList(
            ConvModule(c, out_channels, kernel_size, padding=(kernel_size - 1) // 2, **common) for c in in_channels
        )
        num_extra = num_outs - len(in_channels)
        # the first extra level is made of the last backbone map itself, not of its projection
        sources = [in_channels[-1], *[out_channels] * num_outs][:num_extra]
        self.extra_convs = nn.ModuleList(ConvModule(c, out_channels, 3, stride=2, padding=1, **common) for c in sources)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (B, C_i, H_i, W_i), fine to coarse -> ``num_outs`` maps (B, out_channels, H_i, W_i)."""
        check_number(self, inputs, len(self.convs))
        outs = [conv(x) for conv, x in zip(self.convs, inputs)]
        source = inputs[-1]
        for conv in self.extra_convs:
            source = conv(source)
            outs.append(source)
        return tuple(outs)
