"""Semantic segmentation by atrous convolutions: DeepLabv3, arXiv 1706.05587, and DeepLabv3+, arXiv 1802.02611."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ASPP, ConvModule, DepthwiseSeparableConvModule
from mmdetlike.registry import MODELS

from .base import LOGITS_INIT, PIXEL_LOSS, SemanticHead

DILATIONS = (6, 12, 18)
BATCH_NORM = dict(type='BN')


@MODELS.register_module()
class DeepLabV3Head(SemanticHead):
    """Classify the pixels of one feature map after atrous spatial pyramid pooling: DeepLabv3, arXiv 1706.05587.

    The backbone keeps its last maps fine by dilation:
    ``ResNet(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))`` for an output stride of 16.

    Args:
        num_classes: Classes of pixels.
        in_channels, in_index: Channels of the feature map, and which one it is.
        channels: Channels of each branch of the pooling.
        dilations: Of its three 3x3 convolutions; those here are for an output stride of 16.
        dropout: Probability by which values of the pooled map are dropped.
        pool_kernel_size: (height, width) of the window of the branch that averages; None for the whole map.
        norm_cfg: Norm layer.
        loss_seg, init_cfg: As of ``SemanticHead``; ``HardPixelLoss`` learns from the hardest pixels.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        in_index: int = -1,
        channels: int = 256,
        dilations: Sequence[int] = DILATIONS,
        dropout: float = 0.1,
        pool_kernel_size: tuple[int, int] | None = None,
        norm_cfg: dict = BATCH_NORM,
        loss_seg: dict = PIXEL_LOSS,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(loss_seg, init_cfg or LOGITS_INIT)
        self.num_classes, self.in_index = num_classes, in_index
        pooling = dict(norm=norm_cfg, activation=F.relu, pool_kernel_size=pool_kernel_size, dropout=dropout)
        self.aspp = ASPP(in_channels, channels, dilations, **pooling)
        self.conv_logits = nn.Conv2d(channels, num_classes, 1)

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        """Feature maps -> logits (B, num_classes, h, w) of the size of the one that is used."""
        return self.conv_logits(self.aspp(x[self.in_index]))


class DeepLabDecoder(nn.Module):
    """Atrous pooling of the coarsest map, refined level by level with finer ones: DeepLabv3+, arXiv 1802.02611.

    Args:
        in_channels, in_indices: Channels of the maps that are used, the finest first, and which ones they are.
        project_channels: Channels to which a 1x1 convolution narrows each map but the coarsest.
        channels: Channels of the refined maps, of one number for each map but the coarsest.
        aspp_channels: Channels of the pooled map.
        dilations, dropout, pool_kernel_size, norm_cfg: As of ``DeepLabV3Head``.
        separable: Depthwise separable convolutions: 3x3 ones in the pooling, a 5x5 one in place of two 3x3 ones.

    Raises:
        ConfigError: The lists differ in length.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_indices: Sequence[int] = (0, -1),
        project_channels: Sequence[int] = (48,),
        channels: Sequence[int] = (256,),
        aspp_channels: int = 256,
        dilations: Sequence[int] = DILATIONS,
        dropout: float = 0.1,
        pool_kernel_size: tuple[int, int] | None = None,
        norm_cfg: dict = BATCH_NORM,
        separable: bool = False,
    ) -> None:
        super().__init__()
        num_refined = len(in_channels) - 1
        if not len(in_indices) - 1 == len(project_channels) == len(channels) == num_refined >= 1:
            raise ConfigError(
                f'{type(self).__name__}: in_channels={list(in_channels)} of two or more maps, in_indices='
                f'{list(in_indices)} should be as many, project_channels={list(project_channels)} and channels='
                f'{list(channels)} one less'
            )
        self.in_indices = tuple(in_indices)
        self.out_channels = channels[0]
        self.norm_cfg, self.separable = norm_cfg, separable
        pooling = dict(norm=norm_cfg, activation=F.relu, pool_kernel_size=pool_kernel_size, dropout=dropout)
        pooling['use_depthwise_separable_conv'] = separable
        self.aspp = ASPP(in_channels[-1], aspp_channels, dilations, **pooling)
        narrow = zip(in_channels[:-1], project_channels)
        self.projections = nn.ModuleList(ConvModule(wide, thin, 1, norm_cfg=norm_cfg) for wide, thin in narrow)
        coarser = (*channels[1:], aspp_channels)
        widths = zip(project_channels, coarser, channels)
        self.fusions = nn.ModuleList(
            two_convolutions(thin + deep, out, out, norm_cfg, separable) for thin, deep, out in widths
        )

    def build_tower(self, out_channels: int, separable: bool | None = None) -> nn.Sequential:
        """Layers between this decoder and predictions that are made of ``out_channels``; None is separable as here."""
        separable = self.separable if separable is None else separable
        return two_convolutions(self.out_channels, self.out_channels, out_channels, self.norm_cfg, separable)

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        """Feature maps -> a map (B, channels[0], h, w) of the size of the finest one that is used."""
        *finer, coarsest = (x[index] for index in self.in_indices)
        out = self.aspp(coarsest)
        for level in reversed(range(len(finer))):
            detail = self.projections[level](finer[level])
            out = F.interpolate(out, detail.shape[-2:], mode='bilinear', align_corners=False)
            out = self.fusions[level](torch.cat([detail, out], dim=1))
        return out


def two_convolutions(
    in_channels: int, channels: int, out_channels: int, norm_cfg: dict, separable: bool
) -> nn.Sequential:
    """Two 3x3 convolutions with norm and activation, or one depthwise separable 5x5 convolution that sees as far."""
    if separable:
        return nn.Sequential(DepthwiseSeparableConvModule(in_channels, out_channels, 5, padding=2, norm_cfg=norm_cfg))
    first = ConvModule(in_channels, channels, 3, padding=1, norm_cfg=norm_cfg)
    second = ConvModule(channels, out_channels, 3, padding=1, norm_cfg=norm_cfg)
    return nn.Sequential(first, second)


@MODELS.register_module()
class DeepLabV3PlusHead(SemanticHead):
    """Classify pixels by atrous pooling and a decoder that brings back fine boundaries: DeepLabv3+, arXiv 1802.02611.

    Args:
        num_classes, loss_seg, init_cfg: As of ``DeepLabV3Head``.
        in_channels: Channels of the maps that are used, the finest first.
        decoder: Other arguments of ``DeepLabDecoder``.
        head_channels: Channels of one more pair of convolutions before the logits; None for none.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        decoder: dict | None = None,
        loss_seg: dict = PIXEL_LOSS,
        init_cfg: dict | list[dict] | None = None,
        head_channels: int | None = None,
    ) -> None:
        super().__init__(loss_seg, init_cfg or LOGITS_INIT)
        self.num_classes = num_classes
        self.decoder = DeepLabDecoder(in_channels, **(decoder or {}))
        self.tower = nn.Identity() if head_channels is None else self.decoder.build_tower(head_channels)
        self.conv_logits = nn.Conv2d(head_channels or self.decoder.out_channels, num_classes, 1)

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        """Feature maps -> logits (B, num_classes, h, w) of the size of the finest map that is used."""
        return self.conv_logits(self.tower(self.decoder(x)))
