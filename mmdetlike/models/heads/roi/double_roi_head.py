"""Linear layers classify, convolutions regress: Rethinking Classification and Localization for Object Detection,
arXiv 1904.06493."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones.resnet import Bottleneck
from mmdetlike.models.layers import ConvModule, run_tower
from mmdetlike.registry import MODELS

from .bbox_heads import BBoxHead
from .bbox_heads.bbox_head import BoxPreds
from .linear_layers import linear_layers, run_linear
from .roi_head import StandardRoIHead

DEFAULT_NORM = dict(type='BN')


class WideningBlock(BaseModule):
    """A 3x3 and a 1x1 convolution with a projected shortcut, which lead to a wider block of residual layers."""

    def __init__(self, in_channels: int, out_channels: int, conv_cfg: dict | None, norm_cfg: dict) -> None:
        super().__init__()
        layer = dict(bias=False, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        self.conv1 = ConvModule(in_channels, in_channels, 3, padding=1, **layer)
        self.conv2 = ConvModule(in_channels, out_channels, 1, act_cfg=None, **layer)
        self.conv_identity = ConvModule(in_channels, out_channels, 1, act_cfg=None, **layer)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) -> (n, out_channels, h, w)."""
        return F.relu(self.conv2(self.conv1(x)) + self.conv_identity(x))


@MODELS.register_module()
class DoubleConvFCBBoxHead(BBoxHead):
    """A branch of linear layers for classes and a branch of residual convolutions for boxes.

    Args:
        num_convs, conv_out_channels: Residual blocks of the box branch and their width.
        num_fcs, fc_out_channels: Linear layers of the class branch and their width.
        conv_cfg, norm_cfg: Convolution layer and norm layer of the convolutions.
        with_avg_pool: Average the features of the box branch over their cells; the class branch sees all cells.

    Raises:
        ConfigError: A branch has no layer.
    """

    def __init__(
        self,
        num_convs: int = 0,
        num_fcs: int = 0,
        conv_out_channels: int = 1024,
        fc_out_channels: int = 1024,
        conv_cfg: dict | None = None,
        norm_cfg: dict = DEFAULT_NORM,
        with_avg_pool: bool = True,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        if num_convs < 1 or num_fcs < 1:
            raise ConfigError(f'num_convs and num_fcs must be at least 1, got {num_convs} and {num_fcs}')
        super().__init__(with_avg_pool=with_avg_pool, init_cfg=init_cfg, **kwargs)
        if init_cfg is None:
            self.init_cfg += [dict(type='Xavier', distribution='uniform', override=dict(name='fc_branch'))]
        self.res_block = WideningBlock(self.in_channels, conv_out_channels, conv_cfg, norm_cfg)
        inner = conv_out_channels // Bottleneck.expansion
        self.conv_branch = nn.ModuleList(
            Bottleneck(conv_out_channels, inner, conv_cfg=conv_cfg, norm_cfg=norm_cfg) for _ in range(num_convs)
        )
        area = self.roi_feat_size[0] * self.roi_feat_size[1]
        self.fc_branch, _ = linear_layers(self.in_channels * area, fc_out_channels, num_fcs)
        self.build_predictors(fc_out_channels, conv_out_channels * self.flat_area)

    def forward(self, x_cls: Tensor, x_reg: Tensor) -> BoxPreds:
        """Class logits (n, num_classes + 1) and deltas (n, 4 * num_classes or 4) of regions.

        Boxes are regressed from ``x_reg`` (n, C, h, w), features of usually larger regions than those of ``x_cls``.
        """
        of_classes = run_linear(self.fc_branch, x_cls.flatten(1))
        of_boxes = self.flat(run_tower(self.conv_branch, self.res_block(x_reg)))
        cls_score = self.fc_cls(of_classes) if self.with_cls else None
        return cls_score, self.fc_reg(of_boxes) if self.with_reg else None


@MODELS.register_module()
class DoubleHeadRoIHead(StandardRoIHead):
    """Classes are predicted from regions, boxes from larger regions around them.

    Args:
        reg_roi_scale_factor: Regions that boxes are regressed from are so many times as high and wide.
        kwargs: See ``StandardRoIHead``; ``bbox_head`` takes two sets of features, as ``DoubleConvFCBBoxHead`` does.
    """

    def __init__(self, reg_roi_scale_factor: float, **kwargs) -> None:
        super().__init__(**kwargs)
        self.reg_roi_scale_factor = reg_roi_scale_factor

    def box_features(self, stage: int, x: Sequence[Tensor], rois: Tensor) -> tuple[Tensor, ...]:
        """Features (n, C, h, w) to classify and features to regress boxes from."""
        to_classify = self.features('bbox_roi_extractor', stage, x, rois)
        return to_classify, self.features('bbox_roi_extractor', stage, x, rois, self.reg_roi_scale_factor)
