"""The heads of Deformable DETR, arXiv 2010.04159, DINO, arXiv 2203.03605, and RT-DETR, arXiv 2304.08069."""

import copy

import torch
from mmengine.model import bias_init_with_prob, constant_init
from torch import Tensor, nn

from mmdetlike.models.layers.transformer import mlp, refine_references
from mmdetlike.models.losses import VarifocalLoss
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import bbox_overlaps

from .base import DEFAULT_LOSS_BBOX, DEFAULT_LOSS_CLS, DEFAULT_LOSS_IOU, QueryHead
from .common import QueryContext, QueryTargets


@MODELS.register_module()
class DeformableDETRHead(QueryHead):
    """For every decoder layer a linear layer for classes and a small network that refines references into boxes.

    Args:
        share_pred_layer: All layers share these networks; else each has its own.
        num_pred_layer: Decoder layers, and one more for the encoder's proposals with two stages.
        as_two_stage: The encoder proposes boxes.
        embed_dims, num_reg_fcs, sync_cls_avg_factor, loss_cls, loss_bbox, loss_iou: As of ``QueryHead``.
    """

    binary_proposals = True

    def __init__(
        self,
        num_classes: int,
        share_pred_layer: bool = False,
        num_pred_layer: int = 6,
        as_two_stage: bool = False,
        embed_dims: int = 256,
        num_reg_fcs: int = 2,
        sync_cls_avg_factor: bool = False,
        loss_cls: dict = DEFAULT_LOSS_CLS,
        loss_bbox: dict = DEFAULT_LOSS_BBOX,
        loss_iou: dict = DEFAULT_LOSS_IOU,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        # before ``super``, which makes the layers
        self.share_pred_layer, self.num_pred_layer = share_pred_layer, num_pred_layer
        self.as_two_stage = as_two_stage
        losses = (loss_cls, loss_bbox, loss_iou)
        super().__init__(
            num_classes, embed_dims, num_reg_fcs, sync_cls_avg_factor, *losses, train_cfg, test_cfg, init_cfg
        )

    def build_layers(self) -> None:
        self.cls_branches = self.build_branches(nn.Linear(self.embed_dims, self.cls_out_channels), self.num_pred_layer)
        self.reg_branches = self.build_branches(mlp(self.embed_dims, self.num_reg_fcs, 4), self.num_pred_layer)

    def build_branches(self, branch: nn.Module, count: int) -> nn.ModuleList:
        """A ``branch`` for each of ``count`` layers: copies of it, or always itself where layers share theirs."""
        return nn.ModuleList(branch if self.share_pred_layer else copy.deepcopy(branch) for _ in range(count))

    def init_weights(self) -> None:
        """Start with a probability of 0.01 for every class, and with boxes that are their references.

        Reference points have no size: boxes around them begin with a tenth of the image.
        """
        super().init_weights()
        if self.use_sigmoid_cls:
            for branch in self.cls_branches:
                nn.init.constant_(branch.bias, bias_init_with_prob(0.01))
        for branch in self.reg_branches:
            constant_init(branch[-1], 0, bias=0)
        if not self.as_two_stage:
            # sigmoid(-2) is about a tenth; later layers refine boxes, which have a size
            nn.init.constant_(self.reg_branches[0][-1].bias[2:], -2.0)

    def classify(self, layer: int, hidden: Tensor, context: QueryContext) -> Tensor:
        """Class logits (B, Q, classes) of the layer's classifier; the last of all is that of the encoder."""
        return self.cls_branches[layer](hidden)

    def regress(self, layer: int, hidden: Tensor, reference: Tensor) -> Tensor:
        """The layer's boxes (B, Q, 4), relative to their references."""
        return refine_references(reference, self.reg_branches[layer](hidden))

    def propose(self, memory: Tensor, anchors: Tensor, context: QueryContext) -> tuple[Tensor, Tensor]:
        """Class logits (B, S, classes) and boxes (B, S, 4) of the encoder's pixels ``memory`` (B, S, C).

        ``anchors`` (B, S, 4) are cx, cy, w, h; they and the boxes are before the sigmoid.
        """
        encoder = self.num_pred_layer - 1
        # before the sigmoid, where anchors of padding are infinite and stay so
        return self.classify(encoder, memory, context), self.reg_branches[encoder](memory) + anchors


@MODELS.register_module()
class DINOHead(DeformableDETRHead):
    """The head of Deformable DETR, whose encoder proposes boxes with classes; arguments of ``DeformableDETRHead``."""

    binary_proposals = False


@MODELS.register_module()
class RTDETRHead(DeformableDETRHead):
    """The head of DINO, whose scores also learn how well boxes fit where ``loss_cls`` is a ``VarifocalLoss``."""

    binary_proposals = False

    def class_loss(
        self,
        cls_score: Tensor,
        pos_bboxes: Tensor,
        targets: QueryTargets,
        context: QueryContext,
        avg_factor: float,
    ) -> Tensor:
        """See ``QueryHead``; the overlap of a positive's box with its object is what its score should be."""
        if not isinstance(self.loss_cls, VarifocalLoss):
            return super().class_loss(cls_score, pos_bboxes, targets, context, avg_factor)
        logits = cls_score.flatten(0, 1)
        weights = targets.weights.flatten()[:, None].expand_as(logits).clone()
        quality = torch.zeros_like(logits)
        labels = targets.labels.flatten()[targets.pos_inds]
        overlaps = bbox_overlaps(pos_bboxes.detach(), targets.pos_gt_bboxes, is_aligned=True)
        quality[targets.pos_inds, labels] = overlaps.to(quality.dtype)
        # a positive weighs as much as it overlaps; one that doesn't overlap is no negative
        weights[targets.pos_inds, labels] *= overlaps > 0
        return self.loss_cls(logits, quality, weights, avg_factor=avg_factor)
