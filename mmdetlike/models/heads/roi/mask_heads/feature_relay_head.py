"""From the box head to the mask head: SCNet, arXiv 2012.10150."""

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.registry import MODELS


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
