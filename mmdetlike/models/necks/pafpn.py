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
        in_channels: Channels of each input map.
        out_channels: Channels of each output map.
        num_outs: Number of output maps.
        kwargs: See ``FPN``.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, num_outs: int, **kwargs) -> None:
        super().__init__(in_channels, out_channels, num_outs, **kwargs)
        steps = range(len(self.lateral_convs) - 1)
        layers = dict(self.layers, padding=1)
        self.downsample_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, stride=2, **layers) for _ in steps
        )
        self.pafpn_convs = nn.ModuleList(ConvModule(out_channels, out_channels, 3, **layers) for _ in steps)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """As ``FPN.forward``."""
        used = self._used(inputs)
        laterals = self._top_down(used)
        maps = [conv(x) for conv, x in zip(self.fpn_convs, laterals)]
        for i, downsample in enumerate(self.downsample_convs):
            maps[i + 1] = maps[i + 1] + downsample(maps[i])
        outs = maps[:1] + [conv(x) for conv, x in zip(self.pafpn_convs, maps[1:])]
        return self._extended(outs, used[-1], laterals[-1])
