"""Mask features: feature maps of all levels brought to one size, which masks are predicted from."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn


class MaskFeatures(BaseModule):
    """Base of the modules that bring the maps of a pyramid to one size, add them up and mix their channels.

    A subclass supplies ``level_convs``, ``build_mixer`` and ``forward``.

    Args:
        in_channels: Channels of the pyramid's feature maps.
        feat_channels, out_channels: Channels of hidden layers, and of what is put out.
        start_level, end_level: First and last level used.
        mask_stride: Stride of the result in pixels.
        conv_cfg, norm_cfg: Convolution and norm layer.

    Raises:
        ValueError: The levels are out of order.
    """

    def __init__(
        self,
        in_channels: int,
        feat_channels: int,
        start_level: int,
        end_level: int,
        out_channels: int,
        mask_stride: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or [dict(type='Normal', layer='Conv2d', std=0.01)])
        if not 0 <= start_level <= end_level:
            raise ValueError(f'start_level must be in [0, end_level], got {start_level} and end_level={end_level}')
        self.start_level, self.end_level, self.mask_stride = start_level, end_level, mask_stride
        self.in_channels, self.feat_channels, self.out_channels = in_channels, feat_channels, out_channels
        self.layer = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, inplace=False)
        self.convs_all_levels = nn.ModuleList(self.level_convs(i) for i in range(start_level, end_level + 1))
        self.build_mixer()

    def level_convs(self, level: int) -> nn.Sequential:
        """Hook: the layers of one level, which bring it to the size of ``mask_stride``."""
        raise NotImplementedError

    def build_mixer(self) -> None:
        """Make the layers that mix the channels of the sum.

        The constructor calls it last: what it needs of a subclass's arguments, the subclass sets before it calls the
        constructor of its parent.
        """
        raise NotImplementedError

    def run_levels(self, x: Sequence[Tensor]) -> list[Tensor]:
        """The levels used of a pyramid (B, C, H_i, W_i), each after its layers."""
        return [conv(level) for conv, level in zip(self.convs_all_levels, x[self.start_level : self.end_level + 1])]
