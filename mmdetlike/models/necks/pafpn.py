"""Path Aggregation Network for Instance Segmentation, arXiv 1803.01534."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .fpn import FPN


@MODELS.register_module()
class PAFPN(FPN):
    """A feature pyramid with a second, bottom-up pathway, which gives every level the finest one's detail.

    Args:
        in_channels: Channels of each backbone map.
        out_channels: Channels of every map put out.
        num_outs: Number of maps put out.
        start_level: First backbone map used.
        end_level: Last backbone map used, inclusive; -1 for all.
        add_extra_convs: How extra levels are made, as of ``FPN``.
        relu_before_extra_convs: Apply ReLU before each extra convolution but the first.
        no_norm_on_lateral: Leave the norm out of the lateral convolutions.
        conv_cfg: Convolution layer.
        norm_cfg: Norm layer.
        act_cfg: Activation of the convolutions.
        init_cfg: Weight initialisation.

    Raises:
        ValueError: ``num_outs`` or ``add_extra_convs`` doesn't fit.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        end_level: int = -1,
        add_extra_convs: bool | str = False,
        relu_before_extra_convs: bool = False,
        no_norm_on_lateral: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            num_outs,
            start_level,
            end_level,
            add_extra_convs,
            relu_before_extra_convs,
            no_norm_on_lateral,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            init_cfg=init_cfg,
        )
        steps = range(len(self.lateral_convs) - 1)
        common = dict(padding=1, conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg, inplace=False)
        self.downsample_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, stride=2, **common) for _ in steps
        )
        self.pafpn_convs = nn.ModuleList(ConvModule(out_channels, out_channels, 3, **common) for _ in steps)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (B, C_i, H_i, W_i), fine to coarse -> ``num_outs`` maps (B, out_channels, H_i, W_i).

        Raises:
            ValueError: The number of maps differs from ``in_channels``.
        """
        used = self._used(inputs)
        laterals = self._top_down(used)
        maps = [conv(x) for conv, x in zip(self.fpn_convs, laterals)]
        for i, downsample in enumerate(self.downsample_convs):
            maps[i + 1] = maps[i + 1] + downsample(maps[i])
        outs = maps[:1] + [conv(x) for conv, x in zip(self.pafpn_convs, maps[1:])]
        return self._extended(outs, used[-1], laterals[-1])
