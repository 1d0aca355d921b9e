"""The head of DDQ-DETR: Dense Distinct Query for End-to-End Object Detection, arXiv 2303.12776."""

import copy

from torch import Tensor, nn

from mmdetlike.models.layers.transformer import refine_references
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS

from .common import QueryContext
from .deformable_detr_head import DINOHead
from .dense_loss import DenseQueryLoss
from .distinct import DDQOutputs


@MODELS.register_module()
class DDQDETRHead(DINOHead):
    """The head of DINO, and a second one for dense queries, of which several learn from each object.

    Dense queries are there in training only. They teach encoder and decoder what all queries near an object see.

    Args:
        aux_num_pos: Number of dense queries that learn from an object.
        kwargs: Other arguments of ``DeformableDETRHead``.
    """

    def __init__(self, num_classes: int, aux_num_pos: int = 4, **kwargs) -> None:
        super().__init__(num_classes, **kwargs)
        self.aux_loss_for_dense = DenseQueryLoss(aux_num_pos)

    def build_layers(self) -> None:
        """Branches of DINO, one more for dense proposals, and for each layer another one for dense queries."""
        super().build_layers()
        layers = self.num_pred_layer - 1
        # behind the branch of the encoder, as in checkpoints
        self.cls_branches.append(copy.deepcopy(self.cls_branches[-1]))
        self.reg_branches.append(copy.deepcopy(self.reg_branches[-1]))
        self.aux_cls_branches = nn.ModuleList(copy.deepcopy(branch) for branch in self.cls_branches[:layers])
        self.aux_reg_branches = nn.ModuleList(copy.deepcopy(branch) for branch in self.reg_branches[:layers])

    def init_weights(self) -> None:
        """Branches of dense queries start as the others do."""
        super().init_weights()
        layers = self.num_pred_layer - 1
        self.aux_cls_branches.load_state_dict(self.cls_branches[:layers].state_dict())
        self.aux_reg_branches.load_state_dict(self.reg_branches[:layers].state_dict())

    def propose_dense(self, memory: Tensor, anchors: Tensor, context: QueryContext) -> tuple[Tensor, Tensor]:
        """See ``propose``, with networks that learn from several proposals for each object."""
        dense = self.num_pred_layer
        return self.classify(dense, memory, context), self.reg_branches[dense](memory) + anchors

    def loss(self, outs: DDQOutputs) -> dict[str, Tensor | list[Tensor]]:
        """See ``QueryHead``; terms of dense queries begin with the layer and ``_aux_``, or with ``aux_enc_``."""
        predictions = {}
        for layer, (hidden, reference) in enumerate(zip(outs.dense_hidden_states, outs.dense_references)):
            bbox_pred = refine_references(reference, self.aux_reg_branches[layer](hidden))
            predictions[f'{layer}_aux'] = (self.aux_cls_branches[layer](hidden), bbox_pred)
        if outs.dense_cls_score is not None:
            predictions['aux_enc'] = (outs.dense_cls_score, outs.dense_bbox_pred)
        losses = super().loss(outs)
        for prefix, layer in predictions.items():
            terms = self.aux_loss_for_dense(*float32_if_half(*layer), outs.dense_present, outs.context.samples)
            # names of the original's log, which is why 'aux' is there twice
            losses.update({f'{prefix}_aux_loss_{name}': value for name, value in terms.items()})
        return losses
