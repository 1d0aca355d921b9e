"""SOLO: Segmenting Objects by Locations, arXiv 1912.04488; SOLOv2: Dynamic and Fast, arXiv 2003.10152."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule, MaskFeatures, run_tower
from mmdetlike.registry import MODELS

from .base import GridOutputs, MaskGridHead, with_coordinates


@MODELS.register_module()
class SOLOHead(MaskGridHead):
    """Predict the mask of each cell as a channel of its own. See ``MaskGridHead`` for the arguments."""

    predictors = ('conv_mask_list', 'conv_cls')

    def build_layers(self) -> None:
        self.mask_convs = self.build_tower(self.in_channels + 2)
        self.cls_convs = self.build_tower(self.in_channels)
        self.conv_mask_list = nn.ModuleList(nn.Conv2d(self.feat_channels, grid**2, 1) for grid in self.num_grids)

    def forward(self, x: Sequence[Tensor]) -> GridOutputs:
        """Feature maps -> class logits, and mask logits (B, G * G, 2 H_i, 2 W_i) of each level."""
        feats = self.resize_feats(x)
        masks = [conv(self.mask_features(self.mask_convs, feat)) for conv, feat in zip(self.conv_mask_list, feats)]
        return GridOutputs(self.cls_logits(feats), (masks,))

    @staticmethod
    def mask_features(tower: nn.ModuleList, feat: Tensor, axes: slice = slice(0, 2)) -> Tensor:
        """The features of masks, at twice the size of ``feat``, to which the coordinates ``axes`` are appended."""
        mixed = run_tower(tower, with_coordinates(feat, axes))
        return F.interpolate(mixed, scale_factor=2.0, mode='bilinear', align_corners=False)

    def cls_logits(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """Class logits (B, classes, G, G) of each level."""
        logits = []
        for feat, grid in zip(feats, self.num_grids):
            before = self.cls_convs[: self.cls_down_index]
            after = self.cls_convs[self.cls_down_index :]
            feat = F.interpolate(run_tower(before, feat), size=(grid, grid), mode='bilinear', align_corners=False)
            logits.append(self.conv_cls(run_tower(after, feat)))
        return logits

    def mask_logits(self, outs: GridOutputs, level: int, image: int, cells: Tensor) -> list[Tensor]:
        return [outs.masks[0][level][image][cells]]


@MODELS.register_module()
class DecoupledSOLOHead(SOLOHead):
    """Predict a mask for each column and each row of the grid; that of a cell is the product of its two.

    ``loss_mask`` must not activate, as it takes probabilities. See ``MaskGridHead`` for the arguments.
    """

    predictors = ('conv_mask_list_x', 'conv_mask_list_y', 'conv_cls')

    def build_layers(self) -> None:
        self.mask_convs_x = self.build_tower(self.in_channels + 1)
        self.mask_convs_y = self.build_tower(self.in_channels + 1)
        self.cls_convs = self.build_tower(self.in_channels)
        self.build_predictors()

    def build_predictors(self) -> None:
        """Make the convolutions of each level that predict a mask for each column, and for each row."""
        for name in ('conv_mask_list_x', 'conv_mask_list_y'):
            convs = (nn.Conv2d(self.feat_channels, grid, 3, padding=1) for grid in self.num_grids)
            self.add_module(name, nn.ModuleList(convs))

    def forward(self, x: Sequence[Tensor]) -> GridOutputs:
        """Feature maps -> class logits, and mask logits (B, G, 2 H_i, 2 W_i) of columns and of rows of each level."""
        feats = self.resize_feats(x)
        located = [self.axis_features(feat) for feat in feats]
        columns = [conv(feat) for conv, (feat, _) in zip(self.conv_mask_list_x, located)]
        rows = [conv(feat) for conv, (_, feat) in zip(self.conv_mask_list_y, located)]
        return GridOutputs(self.cls_logits(feats), (columns, rows))

    def axis_features(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        """The features from which masks of columns and masks of rows are predicted."""
        return (
            self.mask_features(self.mask_convs_x, feat, slice(0, 1)),
            self.mask_features(self.mask_convs_y, feat, slice(1, 2)),
        )

    def mask_logits(self, outs: GridOutputs, level: int, image: int, cells: Tensor) -> list[Tensor]:
        columns, rows = (maps[level][image] for maps in outs.masks)
        # cells are numbered row by row
        grid = self.num_grids[level]
        return [columns[cells % grid], rows[cells // grid]]


@MODELS.register_module()
class DecoupledSOLOLightHead(DecoupledSOLOHead):
    """A ``DecoupledSOLOHead`` whose columns and rows are predicted from the same tower.

    Args:
        dcn_cfg: Convolution layer that ends both towers; None for a plain one.
    """

    def __init__(self, num_classes: int, in_channels: int, dcn_cfg: dict | None = None, **kwargs) -> None:
        self.tower_convs = dict(last_conv_cfg=dcn_cfg)
        super().__init__(num_classes, in_channels, **kwargs)

    def build_layers(self) -> None:
        self.mask_convs = self.build_tower(self.in_channels + 2)
        self.cls_convs = self.build_tower(self.in_channels)
        self.build_predictors()

    def axis_features(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        feat = self.mask_features(self.mask_convs, feat)
        return feat, feat


@MODELS.register_module()
class SOLOV2MaskFeatures(MaskFeatures):
    """Mask features of SOLOv2: level i is doubled i times, to the size of level 0; the last one gets x and y."""

    def build_mixer(self) -> None:
        self.conv_pred = ConvModule(self.feat_channels, self.out_channels, 1, **self.layer)

    def level_convs(self, level: int) -> nn.Sequential:
        width = self.in_channels + 2 if 0 < level == self.end_level else self.in_channels
        convs = nn.Sequential()
        for i in range(max(level, 1)):
            convs.add_module(f'conv{i}', ConvModule(width, self.feat_channels, 3, padding=1, **self.layer))
            if level > 0:
                convs.add_module(f'upsample{i}', nn.Upsample(scale_factor=2, mode='bilinear', align_corners=False))
            width = self.feat_channels
        return convs

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        """Feature maps (B, C, H_i, W_i) -> (B, out_channels, h, w)."""
        x = list(x)
        if self.end_level > 0:
            x[self.end_level] = with_coordinates(x[self.end_level])
        return self.conv_pred(sum(self.run_levels(x)))


@MODELS.register_module()
class SOLOV2Head(MaskGridHead):
    """Predict a convolution kernel for each cell, which makes its mask from features that all cells share.

    Args:
        mask_feature_head: Makes the features that all cells share, with the head's ``in_channels``;
            ``SOLOV2MaskFeatures`` if it names no ``type``.
        dynamic_conv_size: Side of the kernels.
        dcn_cfg: Convolution layer of the towers; None for a plain one.
        dcn_apply_to_all_conv: Whether all convolutions of the towers are of that layer, or the last ones alone.
        kwargs: See ``MaskGridHead``; ``cls_down_index`` has no effect, as both towers run at the size of the grid.
    """

    one_object_a_cell = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        mask_feature_head: dict,
        dynamic_conv_size: int = 1,
        dcn_cfg: dict | None = None,
        dcn_apply_to_all_conv: bool = True,
        **kwargs,
    ) -> None:
        self.tower_convs = {'conv_cfg' if dcn_apply_to_all_conv else 'last_conv_cfg': dcn_cfg}
        self.dynamic_conv_size = dynamic_conv_size
        self.kernel_out_channels = mask_feature_head['out_channels'] * dynamic_conv_size**2
        super().__init__(num_classes, in_channels, **kwargs)
        features = {'type': 'SOLOV2MaskFeatures', **mask_feature_head, 'in_channels': in_channels}
        self.mask_feature_head = MODELS.build(features)
        self.mask_stride = self.mask_feature_head.mask_stride

    def build_layers(self) -> None:
        self.cls_convs = self.build_tower(self.in_channels)
        self.kernel_convs = self.build_tower(self.in_channels + 2)
        self.conv_kernel = nn.Conv2d(self.feat_channels, self.kernel_out_channels, 3, padding=1)

    def forward(self, x: Sequence[Tensor]) -> GridOutputs:
        """Feature maps -> class logits, kernels (B, K, G, G) of each level and mask features (B, C, h, w)."""
        feats = self.mask_feature_head(x)
        kernels = []
        cls = []
        for feat, grid in zip(self.resize_feats(x), self.num_grids):
            located = with_coordinates(feat)
            located = F.interpolate(located, size=(grid, grid), mode='bilinear', align_corners=False)
            kernels.append(self.conv_kernel(run_tower(self.kernel_convs, located)))
            # classes are the same everywhere: without coordinates
            cls.append(self.conv_cls(run_tower(self.cls_convs, located[:, :-2])))
        return GridOutputs(cls, (kernels, feats))

    def target_stride(self, level: int) -> float:
        return self.mask_stride

    def mask_logits(self, outs: GridOutputs, level: int, image: int, cells: Tensor) -> list[Tensor]:
        kernels = outs.masks[0][level][image].flatten(1).T[cells]
        feats = outs.masks[1][image]
        size = self.dynamic_conv_size
        # as a matrix product, which takes no kernels at all; a convolution does not
        patches = feats.flatten(1) if size == 1 else F.unfold(feats[None], size, padding=size // 2)[0]
        return [(kernels @ patches).view(-1, *feats.shape[-2:])]
