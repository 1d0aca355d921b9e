"""Heads for masks and for the whole image of SCNet, arXiv 2012.10150."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.backbones.res_layer import SimplifiedBasicBlock
from mmdetlike.models.layers import build_tower, run_tower
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .fcn_mask_head import FCNMaskHead
from .htc_heads import FusedSemanticHead


def residual_convs(
    num_convs: int, in_channels: int, out_channels: int, conv_cfg: dict | None = None, norm_cfg: dict | None = None
) -> nn.ModuleList:
    """``num_convs`` 3x3 convolutions as residual blocks of two.

    Raises:
        ConfigError: Their number is odd, or input and output differ in channels.
    """
    if num_convs % 2 or in_channels != out_channels:
        raise ConfigError(
            f'conv_to_res=True needs an even num_convs and conv_out_channels=in_channels, got num_convs={num_convs}, '
            f'in_channels={in_channels}, conv_out_channels={out_channels}'
        )
    layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
    return nn.ModuleList(SimplifiedBasicBlock(in_channels, in_channels, **layers) for _ in range(num_convs // 2))


@MODELS.register_module()
class SCNetMaskHead(FCNMaskHead):
    """An ``FCNMaskHead`` whose convolutions are residual blocks of two.

    Args:
        conv_to_res: Whether they are.
    """

    def __init__(self, conv_to_res: bool = True, **kwargs) -> None:
        self.conv_to_res = conv_to_res  # needed while the convolutions are built
        super().__init__(**kwargs)

    def build_convs(self, num_convs: int, kernel_size: int) -> nn.ModuleList:
        if not self.conv_to_res:
            return super().build_convs(num_convs, kernel_size)
        return residual_convs(num_convs, self.in_channels, self.conv_out_channels, self.conv_cfg, self.norm_cfg)


@MODELS.register_module()
class SCNetSemanticHead(FusedSemanticHead):
    """A ``FusedSemanticHead`` whose convolutions after the sum are residual blocks of two.

    Args:
        conv_to_res: Whether they are.
    """

    def __init__(self, conv_to_res: bool = True, **kwargs) -> None:
        self.conv_to_res = conv_to_res  # needed while the convolutions are built
        super().__init__(**kwargs)

    def build_convs(self, num_convs: int, in_channels: int, out_channels: int, layer: dict) -> nn.ModuleList:
        if not self.conv_to_res:
            return super().build_convs(num_convs, in_channels, out_channels, layer)
        return residual_convs(num_convs, in_channels, out_channels, **layer)


@MODELS.register_module()
class GlobalContextHead(BaseModule):
    """Convolutions on the coarsest feature map, their mean, and a linear layer for all classes at once.

    Args:
        num_convs: 3x3 convolutions.
        in_channels, conv_out_channels: Channels of the feature map and of the convolutions.
        num_classes: Classes.
        loss_weight: Weight of the loss.
        conv_cfg, norm_cfg: Convolution layer and norm layer.
        conv_to_res: Make residual blocks of two of the convolutions.
    """

    def __init__(
        self,
        num_convs: int = 4,
        in_channels: int = 256,
        conv_out_channels: int = 256,
        num_classes: int = 80,
        loss_weight: float = 1.0,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        conv_to_res: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Normal', std=0.01, override=dict(name='fc')))
        self.loss_weight = loss_weight
        if conv_to_res:
            self.convs = residual_convs(num_convs, in_channels, conv_out_channels, conv_cfg, norm_cfg)
        else:
            self.convs = build_tower(in_channels, conv_out_channels, num_convs, conv_cfg, norm_cfg)
        self.fc = nn.Linear(conv_out_channels, num_classes)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Pyramid maps -> class logits (B, num_classes) and features (B, conv_out_channels, 1, 1)."""
        x = run_tower(self.convs, feats[-1]).mean((2, 3), keepdim=True)
        return self.fc(x.flatten(1)), x

    def loss(self, logits: Tensor, samples: SampleList) -> Tensor:
        """Binary cross entropy of logits (B, num_classes) against the classes of each sample's objects."""
        logits = float32_if_half(logits)[0]
        targets = logits.new_zeros(logits.shape)
        for row, sample in zip(targets, samples):
            row[sample.gt_instances.labels] = 1
        return self.loss_weight * F.binary_cross_entropy_with_logits(logits, targets)


@MODELS.register_module()
class FeatureRelayHead(BaseModule):
    """A linear layer that turns a vector into region features, which are upsampled.

    Args:
        in_channels, out_conv_channels: Channels of the vector and of the region features.
        roi_feat_size: Height and width of these before they are upsampled.
        scale_factor: Factor of the upsampling.
    """

    def __init__(
        self,
        in_channels: int = 1024,
        out_conv_channels: int = 256,
        roi_feat_size: int = 7,
        scale_factor: int = 2,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Linear'))
        self.shape = (out_conv_channels, roi_feat_size, roi_feat_size)
        self.scale_factor = scale_factor
        self.fc = nn.Linear(in_channels, out_conv_channels * roi_feat_size**2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels) -> (n, out_conv_channels, h, w)."""
        x = self.fc(x).unflatten(1, self.shape)
        return F.interpolate(x, scale_factor=self.scale_factor, mode='bilinear', align_corners=True)
