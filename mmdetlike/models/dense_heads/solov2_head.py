"""SOLOv2: Dynamic and Fast Instance Segmentation, arXiv 2003.10152."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.registry import MODELS

from .dynamic_masks import MaskFeatures
from .mask_grid_head import GridOutputs, MaskGridHead, with_coordinates
from .tower import build_tower, run_tower


class SOLOV2MaskFeatures(MaskFeatures):
    """Level i is doubled i times, each time after a convolution, to stride 4; the last one knows where pixels are.

    See ``MaskFeatures`` for the arguments.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.conv_pred = self.conv(self.feat_channels, self.out_channels, 1)

    def level_convs(self, level: int) -> nn.Sequential:
        width = self.in_channels + 2 if 0 < level == self.end_level else self.in_channels
        convs = nn.Sequential()
        for i in range(max(level, 1)):
            convs.add_module(f'conv{i}', self.conv(width, self.feat_channels))
            if level > 0:
                convs.add_module(f'upsample{i}', nn.Upsample(scale_factor=2, mode='bilinear', align_corners=False))
            width = self.feat_channels
        return convs

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        """Pyramid maps (B, C, H_i, W_i) -> (B, out_channels, h, w)."""
        x = list(x)
        if self.end_level > 0:
            x[self.end_level] = with_coordinates(x[self.end_level])
        return self.conv_pred(sum(self.run_levels(x)))


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

    def mask_logits(self, outs: GridOutputs, level: int, image: int, cells: Tensor) -> list[Tensor]:
        kernels, feats = outs.masks[0][level][image].flatten(1).T[cells], outs.masks[1][image]
        size = self.dynamic_conv_size
        if size > 1:  # every pixel's neighbourhood, so that no kernels at all are no special case
            patches = F.unfold(feats[None], size, padding=size // 2)[0]
        else:
            patches = feats.flatten(1)
        return [(kernels @ patches).view(-1, *feats.shape[-2:])]
