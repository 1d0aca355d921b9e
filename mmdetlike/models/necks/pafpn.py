"""Path Aggregation Network for Instance Segmentation, arXiv 1803.01534."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .fpn import FPN


@MODELS.register_module()
class PAFPN(FPN):
    """A feature pyramid with a second, bottom-up pathway, which gives every level the finest one's detail."""

    def build_layers(
        self, used_channels: Sequence[int], out_channels: int, num_extra: int, lateral: dict, layer: dict
    ) -> None:
        """The layers of ``FPN``, and for each step up two more: one that strides, one after the sum."""
        super().build_layers(used_channels, out_channels, num_extra, lateral, layer)
        steps = range(len(used_channels) - 1)
        self.downsample_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, stride=2, padding=1, **layer) for _ in steps
        )
        self.pafpn_convs = nn.ModuleList(ConvModule(out_channels, out_channels, 3, padding=1, **layer) for _ in steps)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        used = self.used_maps(inputs)
        laterals = self.top_down(used)
        maps = [conv(x) for conv, x in zip(self.fpn_convs, laterals)]
        for i, downsample in enumerate(self.downsample_convs):
            maps[i + 1] = maps[i + 1] + downsample(maps[i])
        outs = maps[:1] + [conv(x) for conv, x in zip(self.pafpn_convs, maps[1:])]
        return self.add_extra_levels(outs, used[-1], laterals[-1])
