"""Which classes an image shows: SCNet, arXiv 2012.10150."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import build_tower, run_tower
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from ..residual_convs import residual_convs


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
