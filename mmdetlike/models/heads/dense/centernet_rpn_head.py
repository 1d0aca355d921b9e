"""The first stage of CenterNet2: Probabilistic Two-stage Detection, arXiv 2103.07461."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.layers import Scale, run_tower
from mmdetlike.registry import MODELS

from .centernet_update_head import CellPairs, CenterNetUpdateHead
from .predictions import FlatPredictions


@MODELS.register_module()
class CenterNetRPNHead(CenterNetUpdateHead):
    """A ``CenterNetUpdateHead`` that proposes: one heat map of all objects, from the tower of boxes.

    Positives of the heat map are the centers alone. With ``test_cfg.rcnn.mult_proposal_score`` the second stage
    multiplies its scores by those of the proposals.

    Args:
        num_classes: Must be 1: object or not.
        kwargs: See ``CenterNetUpdateHead``; ``more_pos_thresh`` and ``more_pos_topk`` have no effect.

    Raises:
        ValueError: ``num_classes`` is not 1.
    """

    loss_prefix = 'loss_rpn_'
    predicts_dataset_classes = False

    def __init__(self, in_channels: int, num_classes: int = 1, **kwargs) -> None:
        if num_classes != 1:
            raise ValueError(
                f'CenterNetRPNHead tells objects from background: num_classes must be 1, got {num_classes}'
            )
        super().__init__(num_classes, in_channels, **kwargs)

    def build_layers(self) -> None:
        self.use_sigmoid_cls = True
        self.cls_out_channels = self.num_classes
        self.reg_convs = self.build_tower()
        self.conv_cls = nn.Conv2d(self.feat_channels, self.cls_out_channels, 3, padding=1)
        self.conv_reg = nn.Conv2d(self.feat_channels, 4, 3, padding=1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.strides)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: heat (B, 1, H, W), distances in pixels (B, 4, H, W)."""
        x = run_tower(self.reg_convs, x)
        distances = self.scales[level](self.conv_reg(x)).float()
        return self.conv_cls(x), distances.clamp(min=0) * self.strides[level]

    @torch.no_grad()
    def class_positives(self, preds: FlatPredictions, objects: InstanceData, pairs: CellPairs) -> tuple[Tensor, Tensor]:
        """The points (p,) of an image that are centers on the levels of the object's size, and their objects (p,)."""
        return (pairs.suits & pairs.is_center).nonzero(as_tuple=True)

    def scores(self, preds: FlatPredictions) -> Tensor:
        """The square root of the heat (B, N, 1), as the authors score proposals."""
        return super().scores(preds).sqrt()
