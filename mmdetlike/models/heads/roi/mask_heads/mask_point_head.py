"""Classify single points of a mask: PointRend, arXiv 1912.08193."""

import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule
from mmdetlike.models.utils import get_uncertain_point_coords_with_randomness, get_uncertainty
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS

DEFAULT_LOSS = dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0)
DEFAULT_INIT = dict(type='Normal', std=0.001, override=dict(name='fc_logits'))


@MODELS.register_module()
class MaskPointHead(BaseModule):
    """A small network on the features and the coarse prediction of each point.

    Args:
        num_classes: Classes without background.
        num_fcs, fc_channels: Hidden layers and their channels.
        in_channels: Channels of the features of a point.
        class_agnostic: One mask for all classes.
        coarse_pred_each_layer: Feed the coarse prediction to every layer, not to the first alone.
        conv_cfg: Layer that acts on each point.
        norm_cfg, act_cfg: Norm layer and activation.
        loss_point: Loss of the logits of points.
    """

    def __init__(
        self,
        num_classes: int,
        num_fcs: int = 3,
        in_channels: int = 256,
        fc_channels: int = 256,
        class_agnostic: bool = False,
        coarse_pred_each_layer: bool = True,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        loss_point: dict = DEFAULT_LOSS,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or DEFAULT_INIT)
        self.num_classes, self.class_agnostic = num_classes, class_agnostic
        self.coarse_pred_each_layer = coarse_pred_each_layer
        self.loss_point = MODELS.build(loss_point)
        channels = 1 if class_agnostic else num_classes
        # the coarse prediction always speaks of all classes
        extra = num_classes if coarse_pred_each_layer else 0
        layer = dict(conv_cfg=conv_cfg or dict(type='Conv1d'), norm_cfg=norm_cfg, act_cfg=act_cfg or dict(type='ReLU'))
        widths = [in_channels + num_classes] + [fc_channels + extra] * num_fcs
        self.fcs = nn.ModuleList(ConvModule(width, fc_channels, 1, **layer) for width in widths[:num_fcs])
        self.fc_logits = nn.Conv1d(widths[-1], channels, 1)

    def forward(self, fine_grained_feats: Tensor, coarse_feats: Tensor) -> Tensor:
        """Features (n, C, p) and coarse logits (n, num_classes, p) of p points -> their logits (n, num_classes, p)."""
        x = torch.cat([fine_grained_feats, coarse_feats], dim=1)
        for fc in self.fcs:
            x = fc(x)
            if self.coarse_pred_each_layer:
                x = torch.cat([x, coarse_feats], dim=1)
        return self.fc_logits(x)

    def loss(self, point_pred: Tensor, point_targets: Tensor, labels: Tensor) -> Tensor:
        """Loss of logits (n, C, p) against targets (n, p) in [0, 1] of classes ``labels`` (n,)."""
        point_pred = float32_if_half(point_pred)[0]
        if not len(point_pred):
            return point_pred.sum()
        own_masks = torch.zeros_like(labels) if self.class_agnostic else labels
        return self.loss_point(point_pred, point_targets, region_labels=own_masks)

    def training_points(self, mask_preds: Tensor, labels: Tensor, cfg: ConfigDict) -> Tensor:
        """Points (n, num_points, 2) in [0, 1] of each region to train on, rather where its mask is uncertain."""
        labels = torch.zeros_like(labels) if self.class_agnostic else labels
        return get_uncertain_point_coords_with_randomness(
            mask_preds, labels, cfg.num_points, cfg.oversample_ratio, cfg.importance_sample_ratio
        )

    @staticmethod
    def uncertain_points(masks: Tensor, num_points: int) -> tuple[Tensor, Tensor]:
        """Pixels where masks (n, 1, h, w) are least certain: their indices (n, p) and centers (n, p, 2) in [0, 1]."""
        height, width = masks.shape[-2:]
        uncertainty = get_uncertainty(masks, torch.zeros(len(masks), dtype=torch.long, device=masks.device))
        inds = uncertainty.flatten(1).topk(min(height * width, num_points)).indices
        x = inds % width
        y = torch.div(inds, width, rounding_mode='floor')
        return inds, torch.stack([(x + 0.5) / width, (y + 0.5) / height], dim=-1)
