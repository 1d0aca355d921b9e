"""Heads of Deformable DETR, arXiv 2010.04159, and DINO, arXiv 2203.03605."""

import copy

from mmengine.model import bias_init_with_prob, constant_init
from torch import Tensor, nn

from mmdetlike.models.layers.transformer import move
from mmdetlike.registry import MODELS

from .detr_head import QueryHead


@MODELS.register_module()
class DeformableDETRHead(QueryHead):
    """A linear layer for classes and a small network that moves reference points, for every layer.

    Args:
        share_pred_layer: All layers share theirs; else each has its own.
        num_pred_layer: Decoder layers, and one more for the encoder's proposals with two stages.
        as_two_stage: The encoder proposes boxes.
        kwargs: See ``QueryHead``.
    """

    binary_proposals = True

    def __init__(
        self, *args, share_pred_layer: bool = False, num_pred_layer: int = 6, as_two_stage: bool = False, **kwargs
    ) -> None:
        self.share_pred_layer, self.num_pred_layer, self.as_two_stage = share_pred_layer, num_pred_layer, as_two_stage
        super().__init__(*args, **kwargs)

    def _init_layers(self) -> None:
        dims = self.embed_dims
        hidden = [layer for _ in range(self.num_reg_fcs) for layer in (nn.Linear(dims, dims), nn.ReLU())]
        cls_branch, reg_branch = nn.Linear(dims, self.cls_out_channels), nn.Sequential(*hidden, nn.Linear(dims, 4))
        count, clone = self.num_pred_layer, (lambda m: m) if self.share_pred_layer else copy.deepcopy
        self.cls_branches = nn.ModuleList(clone(cls_branch) for _ in range(count))
        self.reg_branches = nn.ModuleList(clone(reg_branch) for _ in range(count))

    def init_weights(self) -> None:
        """Start with rare objects and with boxes that are their references, of a tenth of the image or as proposed."""
        super().init_weights()
        if self.use_sigmoid_cls:
            for branch in self.cls_branches:
                nn.init.constant_(branch.bias, bias_init_with_prob(0.01))
        for branch in self.reg_branches:
            constant_init(branch[-1], 0, bias=0)
        nn.init.constant_(self.reg_branches[0][-1].bias[2:], -2.0)
        if self.as_two_stage:
            for branch in self.reg_branches:
                nn.init.constant_(branch[-1].bias[2:], 0.0)

    def predict_layer(self, layer: int, hidden: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        """Class logits (B, Q, classes) and boxes (B, Q, 4) after a decoder layer."""
        return self.cls_branches[layer](hidden), move(reference, self.reg_branches[layer](hidden))


@MODELS.register_module()
class DINOHead(DeformableDETRHead):
    """The head of Deformable DETR, whose encoder proposes boxes with classes."""

    binary_proposals = False
