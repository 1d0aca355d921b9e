"""SOLOv2: Dynamic and Fast Instance Segmentation, arXiv 2003.10152."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .mask_grid_head import GridOutputs, MaskGridHead, with_coordinates
from .tower import build_tower, run_tower

DEFAULT_INIT = [dict(type='Normal', layer='Conv2d', std=0.01)]


class SOLOV2MaskFeatures(BaseModule):
    """Bring pyramid maps to the size of one of stride 4, add them up and mix their channels.

    Level i is doubled i times, each time after a convolution; the last one knows the place of each pixel.

    Args:
        in_channels: Channels of the maps.
        feat_channels: Channels of hidden layers.
        start_level: First level used.
        end_level: Last level used.
        out_channels: Channels put out.
        mask_stride: Stride of the result in pixels.
        conv_cfg: Convolution layer.
        norm_cfg: Norm layer.
        init_cfg: Weight initialisation.

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
        super().__init__(init_cfg or DEFAULT_INIT)
        if not 0 <= start_level <= end_level:
            raise ValueError(f'start_level must be in [0, end_level], got {start_level} and end_level={end_level}')
        self.start_level, self.end_level, self.mask_stride = start_level, end_level, mask_stride
        self.out_channels = out_channels
        layer = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, inplace=False)
        self.convs_all_levels = nn.ModuleList()
        for level in range(start_level, end_level + 1):
            width = in_channels + 2 if 0 < level == end_level else in_channels
            convs = nn.Sequential()
            for i in range(max(level, 1)):
                convs.add_module(f'conv{i}', ConvModule(width, feat_channels, 3, padding=1, **layer))
                if level > 0:
                    convs.add_module(f'upsample{i}', nn.Upsample(scale_factor=2, mode='bilinear', align_corners=False))
                width = feat_channels
            self.convs_all_levels.append(convs)
        self.conv_pred = ConvModule(feat_channels, out_channels, 1, **layer)

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        """Pyramid maps (B, C, H_i, W_i) -> (B, out_channels, h, w)."""
        levels = list(x[self.start_level : self.end_level + 1])
        if self.end_level > 0:
            levels[-1] = with_coordinates(levels[-1])
        return self.conv_pred(sum(convs(level) for convs, level in zip(self.convs_all_levels, levels)))


@MODELS.register_module()
class SOLOV2Head(MaskGridHead):
    """A kernel for each cell, which makes its mask from features that all share.

    Args:
        mask_feature_head: Arguments of ``SOLOV2MaskFeatures``; ``in_channels`` are those of the head.
        dynamic_conv_size: Side of the kernels.
        dcn_cfg: Convolution layer of the towers; None for a plain one.
        dcn_apply_to_all_conv: Whether all convolutions of the towers are of that layer, or the last ones alone.
        kwargs: See ``MaskGridHead``; ``cls_down_index`` has no effect, as both towers run at the size of the grid.
    """

    one_object_a_cell = False

    def __init__(
        self,
        *args,
        mask_feature_head: dict,
        dynamic_conv_size: int = 1,
        dcn_cfg: dict | None = None,
        dcn_apply_to_all_conv: bool = True,
        **kwargs,
    ) -> None:
        self.dcn_cfg, self.dcn_apply_to_all_conv = dcn_cfg, dcn_apply_to_all_conv
        self.dynamic_conv_size = dynamic_conv_size
        self.kernel_out_channels = mask_feature_head['out_channels'] * dynamic_conv_size**2
        super().__init__(*args, **kwargs)
        self.mask_feature_head = SOLOV2MaskFeatures(**{**mask_feature_head, 'in_channels': self.in_channels})
        self.mask_stride = self.mask_feature_head.mask_stride

    def _init_layers(self) -> None:
        self.cls_convs, self.kernel_convs = self._tower(self.in_channels), self._tower(self.in_channels + 2)
        self.conv_cls = nn.Conv2d(self.feat_channels, self.cls_out_channels, 3, padding=1)
        self.conv_kernel = nn.Conv2d(self.feat_channels, self.kernel_out_channels, 3, padding=1)

    def _tower(self, in_channels: int) -> nn.ModuleList:
        kind = 'conv_cfg' if self.dcn_apply_to_all_conv else 'last_conv_cfg'
        layer = dict(norm_cfg=self.norm_cfg, **{kind: self.dcn_cfg})
        return build_tower(in_channels, self.feat_channels, self.stacked_convs, **layer)

    def forward(self, x: Sequence[Tensor]) -> GridOutputs:
        """Pyramid maps -> class logits, kernels (B, K, G, G) of each level and mask features (B, C, h, w)."""
        feats, kernels, cls = self.mask_feature_head(x), [], []
        for feat, grid in zip(self.resize_feats(x), self.num_grids):
            located = with_coordinates(feat)
            located = F.interpolate(located, size=(grid, grid), mode='bilinear', align_corners=False)
            kernels.append(self.conv_kernel(run_tower(self.kernel_convs, located)))
            cls.append(self.conv_cls(run_tower(self.cls_convs, located[:, :-2])))
        return GridOutputs(cls, (kernels, feats))

    def target_stride(self, level: int) -> float:
        """Pixels of the image for one of a mask, the same at all levels."""
        return self.mask_stride

    def training_masks(self, outs: GridOutputs, level: int, image: int, cells: Tensor) -> Tensor:
        """Logits (p, h, w) of cells of a level."""
        kernels, feats = outs.masks[0][level][image].flatten(1).T[cells], outs.masks[1][image]
        size = self.dynamic_conv_size
        if size > 1:  # every pixel's neighbourhood, so that no kernels at all are no special case
            patches = F.unfold(feats[None], size, padding=size // 2)[0]
        else:
            patches = feats.flatten(1)
        return (kernels @ patches).view(-1, *feats.shape[-2:])

    def probabilities(self, outs: GridOutputs, level: int, image: int, cells: Tensor) -> Tensor:
        """Masks (n, h, w) in [0, 1]."""
        return self.training_masks(outs, level, image, cells).sigmoid()
