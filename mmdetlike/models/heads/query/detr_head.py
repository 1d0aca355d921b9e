"""The head of DETR: End-to-End Object Detection with Transformers, arXiv 2005.12872."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmdetlike.models.layers.transformer import FFN
from mmdetlike.registry import MODELS

from .base import QueryHead
from .common import QueryContext


@MODELS.register_module()
class DETRHead(QueryHead):
    """A linear layer for classes and a small network for boxes, shared by all decoder layers; see ``QueryHead``."""

    def build_layers(self) -> None:
        dims = self.embed_dims
        relu = dict(type='ReLU', inplace=True)
        self.fc_cls = nn.Linear(dims, self.cls_out_channels)
        self.reg_ffn = FFN(dims, dims, self.num_reg_fcs, act_cfg=relu, add_identity=False)
        self.fc_reg = nn.Linear(dims, 4)

    def classify(self, layer: int, hidden: Tensor, context: QueryContext) -> Tensor:
        return self.fc_cls(hidden)

    def regress(self, layer: int, hidden: Tensor, reference: Tensor | None) -> Tensor:
        """Boxes (B, Q, 4) of the same network in all layers, relative to nothing."""
        return self.box_deltas(hidden).sigmoid()

    def box_deltas(self, hidden: Tensor) -> Tensor:
        """Boxes (B, Q, 4) before the sigmoid."""
        return self.fc_reg(F.relu(self.reg_ffn(hidden)))
