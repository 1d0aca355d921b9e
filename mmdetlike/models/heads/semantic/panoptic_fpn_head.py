"""Semantic segmentation from a pyramid: Panoptic Feature Pyramid Networks, arXiv 1901.02446."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.models.layers import ConvUpsample
from mmdetlike.registry import MODELS

from ..common import TOWER_NORM
from .base import LOGITS_INIT, SEMANTIC_LOSS, SemanticHead


@MODELS.register_module()
class SemanticFPNHead(SemanticHead):
    """Segment an image by classes: bring all levels to the size of the finest one, add them up, classify each pixel.

    Args:
        num_classes: Classes of pixels.
        in_channels, inner_channels: Channels of the feature maps, and of hidden layers.
        start_level, end_level: First level used, and the one after the last.
        conv_cfg, norm_cfg: Convolution and norm layer.
        loss_seg, init_cfg: As of ``SemanticHead``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 256,
        inner_channels: int = 128,
        start_level: int = 0,
        end_level: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        loss_seg: dict = SEMANTIC_LOSS,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(loss_seg, init_cfg or LOGITS_INIT)
        self.start_level, self.end_level = start_level, end_level
        layer = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg or TOWER_NORM)
        self.conv_upsample_layers = nn.ModuleList(
            ConvUpsample(in_channels, inner_channels, num_layers=max(level, 1), num_upsample=level, **layer)
            for level in range(start_level, end_level)
        )
        self.conv_logits = nn.Conv2d(inner_channels, num_classes, 1)

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        """Feature maps -> logits (B, num_classes, h, w)."""
        levels = zip(self.conv_upsample_layers, x[self.start_level : self.end_level])
        outs = [layer(level) for layer, level in levels]
        size = outs[0].shape[-2:]
        same_size = [out if out.shape[-2:] == size else F.interpolate(out, size, mode='bilinear') for out in outs]
        return self.conv_logits(sum(same_size))


@MODELS.register_module()
class PanopticFPNHead(SemanticFPNHead):
    """Segment stuff; all things are one class more, the last one.

    Args:
        num_things_classes, num_stuff_classes: Classes of things, which are one class here, and of stuff.
        in_channels, inner_channels, start_level, end_level: As of ``SemanticFPNHead``.
        conv_cfg, norm_cfg, loss_seg, init_cfg: As of ``SemanticFPNHead``.
    """

    def __init__(
        self,
        num_things_classes: int = 80,
        num_stuff_classes: int = 53,
        in_channels: int = 256,
        inner_channels: int = 128,
        start_level: int = 0,
        end_level: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        loss_seg: dict = SEMANTIC_LOSS,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        settings = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, loss_seg=loss_seg, init_cfg=init_cfg)
        super().__init__(num_stuff_classes + 1, in_channels, inner_channels, start_level, end_level, **settings)
        self.num_things_classes, self.num_stuff_classes = num_things_classes, num_stuff_classes

    def targets(self, classes: Tensor) -> Tensor:
        """Renumber classes (B, h, w), things first, to stuff from 0 on, then things; classes that are neither stay."""
        # the toolbox has stuff first and things last, where datasets have things first
        stuff = (classes >= self.num_things_classes) & (classes < self.num_things_classes + self.num_stuff_classes)
        shifted = torch.where(stuff, classes - self.num_things_classes, classes)
        return torch.where(classes < self.num_things_classes, self.num_stuff_classes, shifted)
