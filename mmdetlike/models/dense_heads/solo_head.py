"""SOLO: Segmenting Objects by Locations, arXiv 1912.04488."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.registry import MODELS

from .mask_grid_head import GridOutputs, MaskGridHead, with_coordinates
from .tower import build_tower, run_tower


@MODELS.register_module()
class SOLOHead(MaskGridHead):
    """A channel of masks for each cell. See ``MaskGridHead`` for the arguments."""

    predictors = ('conv_mask_list', 'conv_cls')

    def _init_layers(self) -> None:
        self.mask_convs = self._tower(self.in_channels + 2)
        self.cls_convs = self._tower(self.in_channels)
        self.conv_mask_list = nn.ModuleList(nn.Conv2d(self.feat_channels, grid**2, 1) for grid in self.num_grids)
        self.conv_cls = nn.Conv2d(self.feat_channels, self.cls_out_channels, 3, padding=1)

    def _tower(self, in_channels: int) -> nn.ModuleList:
        return build_tower(in_channels, self.feat_channels, self.stacked_convs, norm_cfg=self.norm_cfg)

    def forward(self, x: Sequence[Tensor]) -> GridOutputs:
        """Pyramid maps -> class logits, and mask logits (B, G * G, 2 H_i, 2 W_i) of each level."""
        feats = self.resize_feats(x)
        masks = [conv(self.mask_features(self.mask_convs, feat)) for conv, feat in zip(self.conv_mask_list, feats)]
        return GridOutputs(self.cls_logits(feats), (masks,))

    @staticmethod
    def mask_features(tower: nn.ModuleList, feat: Tensor, axes: slice = slice(0, 2)) -> Tensor:
        """What masks are predicted from, at twice the size of ``feat``, which gets the coordinates ``axes``."""
        mixed = run_tower(tower, with_coordinates(feat, axes))
        return F.interpolate(mixed, scale_factor=2.0, mode='bilinear', align_corners=False)

    def cls_logits(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """Class logits (B, classes, G, G) of each level."""
        logits = []
        for feat, grid in zip(feats, self.num_grids):
            before, after = self.cls_convs[: self.cls_down_index], self.cls_convs[self.cls_down_index :]
            feat = F.interpolate(run_tower(before, feat), size=(grid, grid), mode='bilinear', align_corners=False)
            logits.append(self.conv_cls(run_tower(after, feat)))
        return logits

    def mask_logits(self, outs: GridOutputs, level: int, image: int, cells: Tensor) -> list[Tensor]:
        return [outs.masks[0][level][image][cells]]


@MODELS.register_module()
class DecoupledSOLOHead(SOLOHead):
    """A channel of masks for each column and each row: that of a cell is their product.

    ``loss_mask`` must not activate, as it takes probabilities. See ``MaskGridHead`` for the arguments.
    """

    predictors = ('conv_mask_list_x', 'conv_mask_list_y', 'conv_cls')

    def _init_layers(self) -> None:
        self.mask_convs_x, self.mask_convs_y = self._tower(self.in_channels + 1), self._tower(self.in_channels + 1)
        self.cls_convs = self._tower(self.in_channels)
        self._init_predictors()

    def _init_predictors(self) -> None:
        self.conv_mask_list_x, self.conv_mask_list_y = (
            nn.ModuleList(nn.Conv2d(self.feat_channels, grid, 3, padding=1) for grid in self.num_grids)
            for _ in range(2)
        )
        self.conv_cls = nn.Conv2d(self.feat_channels, self.cls_out_channels, 3, padding=1)

    def forward(self, x: Sequence[Tensor]) -> GridOutputs:
        """Pyramid maps -> class logits, and mask logits (B, G, 2 H_i, 2 W_i) of columns and of rows of each level."""
        feats = self.resize_feats(x)
        located = [self.axis_features(feat) for feat in feats]
        columns = [conv(feat) for conv, (feat, _) in zip(self.conv_mask_list_x, located)]
        rows = [conv(feat) for conv, (_, feat) in zip(self.conv_mask_list_y, located)]
        return GridOutputs(self.cls_logits(feats), (columns, rows))

    def axis_features(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        """What masks of columns and of rows are predicted from."""
        return (
            self.mask_features(self.mask_convs_x, feat, slice(0, 1)),
            self.mask_features(self.mask_convs_y, feat, slice(1, 2)),
        )

    def mask_logits(self, outs: GridOutputs, level: int, image: int, cells: Tensor) -> list[Tensor]:
        columns, rows = (maps[level][image] for maps in outs.masks)
        grid = self.num_grids[level]
        return [columns[cells % grid], rows[cells // grid]]


@MODELS.register_module()
class DecoupledSOLOLightHead(DecoupledSOLOHead):
    """Columns and rows of one tower.

    Args:
        dcn_cfg: Convolution layer that ends both towers; None for a plain one.
        kwargs: See ``MaskGridHead``.
    """

    def __init__(self, *args, dcn_cfg: dict | None = None, **kwargs) -> None:
        self.dcn_cfg = dcn_cfg
        super().__init__(*args, **kwargs)

    def _init_layers(self) -> None:
        self.mask_convs, self.cls_convs = self._tower(self.in_channels + 2), self._tower(self.in_channels)
        self._init_predictors()

    def _tower(self, in_channels: int) -> nn.ModuleList:
        return build_tower(
            in_channels, self.feat_channels, self.stacked_convs, norm_cfg=self.norm_cfg, last_conv_cfg=self.dcn_cfg
        )

    def axis_features(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        """What masks of columns and of rows are predicted from: the same."""
        feat = self.mask_features(self.mask_convs, feat)
        return feat, feat
