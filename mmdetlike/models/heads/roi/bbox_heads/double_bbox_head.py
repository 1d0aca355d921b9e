"""Linear layers classify, convolutions regress: Rethinking Classification and Localization for Object Detection,
arXiv 1904.06493."""

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones.resnet import Bottleneck
from mmdetlike.models.layers import ConvModule
from mmdetlike.registry import MODELS

from .bbox_head import BBoxHead, BoxPreds

DEFAULT_NORM = dict(type='BN')


class WideningBlock(BaseModule):
    """A 3x3 and a 1x1 convolution with a projected shortcut, which lead to a wider block of residual layers.

    Args:
        in_channels: Channels of region features.
        out_channels: Channels of the output.
        conv_cfg: Convolution layer.
        norm_cfg: Norm layer.
    """

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
        num_convs: Residual blocks of the box branch.
        num_fcs: Linear layers of the class branch.
        conv_out_channels: Width of the box branch.
        fc_out_channels: Width of the class branch.
        conv_cfg: Convolution layer.
        norm_cfg: Norm layer of the convolutions.
        with_avg_pool: Average the features of the box branch over their cells; the class branch sees all cells.
        init_cfg: Weight initialization.
        kwargs: See ``BBoxHead``.

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
        widths = [self.in_channels * area] + [fc_out_channels] * num_fcs
        self.fc_branch = nn.ModuleList(nn.Linear(width, fc_out_channels) for width in widths[:num_fcs])
        self.build_predictors(fc_out_channels, conv_out_channels * (1 if with_avg_pool else area))

    def forward(self, x_cls: Tensor, x_reg: Tensor) -> BoxPreds:
        """Class logits and deltas of regions.

        Args:
            x_cls: (n, C, h, w) the features that are classified.
            x_reg: (n, C, h, w) the features that boxes are regressed from, usually of larger regions.
        """
        return self.classify(x_cls), self.regress(x_reg)

    def classify(self, x: Tensor) -> Tensor | None:
        """Region features (n, C, h, w) -> class logits (n, num_classes + 1)."""
        x = x.flatten(1)
        for fc in self.fc_branch:
            x = F.relu(fc(x))
        return self.fc_cls(x) if self.with_cls else None

    def regress(self, x: Tensor) -> Tensor | None:
        """Region features (n, C, h, w) -> deltas (n, 4 * num_classes or 4)."""
        x = self.res_block(x)
        for block in self.conv_branch:
            x = block(x)
        x = x.mean((2, 3)) if self.with_avg_pool else x.flatten(1)
        return self.fc_reg(x) if self.with_reg else None
