"""How well a mask fits: Mask Scoring R-CNN, arXiv 1903.00241."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS

from ..linear_layers import linear_layers, run_linear
from .fcn_mask_head import masks_of_class

DEFAULT_LOSS = dict(type='MSELoss', loss_weight=0.5)
DEFAULT_INIT = [
    dict(type='Kaiming', override=dict(name='convs')),
    dict(type='Caffe2Xavier', override=dict(name='fcs')),
    dict(type='Normal', std=0.01, override=dict(name='fc_mask_iou')),
]


@MODELS.register_module()
class MaskIoUHead(BaseModule):
    """Convolutions and linear layers on region features and a mask, which predict the mask's overlap with its object.

    Args:
        num_convs: 3x3 convolutions, the last with stride 2.
        num_fcs, fc_out_channels: Hidden linear layers and their width.
        roi_feat_size: Height and width of region features; masks are twice as large.
        in_channels, conv_out_channels: Channels of region features and of the convolutions.
        num_classes: Classes without background.
        loss_iou: Loss of the overlaps.
    """

    def __init__(
        self,
        num_convs: int = 4,
        num_fcs: int = 2,
        roi_feat_size: int = 14,
        in_channels: int = 256,
        conv_out_channels: int = 256,
        fc_out_channels: int = 1024,
        num_classes: int = 80,
        loss_iou: dict = DEFAULT_LOSS,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or DEFAULT_INIT)
        self.num_classes = num_classes
        self.loss_iou = MODELS.build(loss_iou)
        widths = [in_channels + 1] + [conv_out_channels] * num_convs  # one more for the mask
        self.convs = nn.ModuleList(
            nn.Conv2d(width, conv_out_channels, 3, stride=2 if i == num_convs - 1 else 1, padding=1)
            for i, width in enumerate(widths[:num_convs])
        )
        height, width = (size // 2 for size in _pair(roi_feat_size))
        self.fcs, width = linear_layers(widths[-1] * height * width, fc_out_channels, num_fcs)
        self.fc_mask_iou = nn.Linear(width, num_classes)

    def forward(self, feats: Tensor, masks: Tensor) -> Tensor:
        """Overlaps (n, num_classes) of masks (n, 2h, 2w) in [0, 1] on region features (n, C, h, w)."""
        # to the size of the features, by a maximum, as the paper has it
        masks = F.max_pool2d(masks[:, None].to(feats.dtype), 2)
        x = torch.cat([feats, masks], dim=1)
        for conv in self.convs:
            x = F.relu(conv(x))
        return self.fc_mask_iou(run_linear(self.fcs, x.flatten(1)))

    def loss(self, pred: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """Loss of overlaps (p, num_classes) against ``targets`` (p,) of classes ``labels`` (p,).

        Masks that miss their object (target 0) take no part.
        """
        own = masks_of_class(float32_if_half(pred)[0], labels, class_agnostic=False)
        hits = targets > 0
        return self.loss_iou(own[hits], targets[hits]) if hits.any() else own.sum() * 0
