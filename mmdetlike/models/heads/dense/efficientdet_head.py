"""The head of EfficientDet: Scalable and Efficient Object Detection, arXiv 1911.09070."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.models.layers import SeparableConv, build_norm_layer
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from ..common import rare_classes_init
from .anchor_head import AnchorHead
from .predictions import DenseTargets, FlatPredictions, LossTerms

DEFAULT_NORM = dict(type='BN', momentum=1e-2, eps=1e-3)


@MODELS.register_module()
class EfficientDetSepBNHead(AnchorHead):
    """Two towers of separable convolutions, which all levels share; each level has norm layers of its own.

    Args:
        num_ins: Number of feature maps.
        stacked_convs: Convolutions in each tower.
        norm_cfg: Norm layer of the towers.
        kwargs: See ``AnchorHead``; the loss of a box is the mean of those of its four deltas.
    """

    default_init = rare_classes_init('cls_header')

    def __init__(
        self,
        num_classes: int,
        num_ins: int,
        in_channels: int,
        feat_channels: int,
        stacked_convs: int = 3,
        norm_cfg: dict = DEFAULT_NORM,
        **kwargs,
    ) -> None:
        self.num_ins, self.stacked_convs, self.norm_cfg = num_ins, stacked_convs, norm_cfg
        super().__init__(num_classes, in_channels, feat_channels, **kwargs)

    def build_layers(self) -> None:
        self.reg_conv_list = self.build_tower()
        self.reg_bn_list = self.build_norms()
        self.cls_conv_list = self.build_tower()
        self.cls_bn_list = self.build_norms()
        width = self.feat_channels if self.stacked_convs else self.in_channels
        self.cls_header = SeparableConv(width, self.num_base_priors * self.cls_out_channels)
        self.reg_header = SeparableConv(width, self.num_base_priors * self.bbox_coder.encode_size)

    def build_tower(self) -> nn.ModuleList:
        widths = [self.in_channels] + [self.feat_channels] * self.stacked_convs
        return nn.ModuleList(SeparableConv(width, self.feat_channels) for width in widths[: self.stacked_convs])

    def build_norms(self) -> nn.ModuleList:
        """The norm layers after each convolution of a tower, one for each level."""
        norms = nn.ModuleList()
        for _ in range(self.stacked_convs):
            of_levels = [build_norm_layer(self.norm_cfg, self.feat_channels)[1] for _ in range(self.num_ins)]
            norms.append(nn.ModuleList(of_levels))
        return norms

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        if level >= self.num_ins:
            raise ValueError(f'the head was built for num_ins={self.num_ins} maps, got map {level + 1}')
        cls_feat = self.run_tower(self.cls_conv_list, self.cls_bn_list, level, x)
        reg_feat = self.run_tower(self.reg_conv_list, self.reg_bn_list, level, x)
        return self.cls_header(cls_feat), self.reg_header(reg_feat)

    def run_tower(self, convs: nn.ModuleList, norms: nn.ModuleList, level: int, x: Tensor) -> Tensor:
        """``x`` (B, C, H, W) of a level after the convolutions of a tower, with the norm layers of this level."""
        for conv, of_levels in zip(convs, norms):
            x = F.silu(of_levels[level](conv(x)))
        return x

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> LossTerms:
        """As of ``AnchorHead``, but ``bbox`` by the number of deltas, four a positive."""
        terms = super().target_losses(preds, targets, samples)
        size = self.bbox_coder.encode_size
        return dict(terms, bbox=[loss / size for loss in terms['bbox']])
