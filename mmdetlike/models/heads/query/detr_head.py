"""The heads of DETR, arXiv 2005.12872, Conditional DETR, arXiv 2108.06152, and DAB-DETR, arXiv 2201.12329."""

import torch.nn.functional as F
from mmengine.model import bias_init_with_prob, constant_init
from torch import Tensor, nn

from mmdetlike.models.layers.transformer import FFN, MLP, refine_references
from mmdetlike.registry import MODELS

from .base import QueryHead
from .common import QueryContext


@MODELS.register_module()
class DETRHead(QueryHead):
    """A linear layer for classes and a small network for boxes, shared by all decoder layers; see ``QueryHead``."""

    def build_layers(self) -> None:
        dims = self.embed_dims
        self.fc_cls = nn.Linear(dims, self.cls_out_channels)
        self.reg_ffn = FFN(dims, dims, self.num_reg_fcs, add_identity=False)
        self.fc_reg = nn.Linear(dims, 4)

    def classify(self, layer: int, hidden: Tensor, context: QueryContext) -> Tensor:
        return self.fc_cls(hidden)

    def regress(self, layer: int, hidden: Tensor, reference: Tensor | None) -> Tensor:
        """Boxes (B, Q, 4) of the same network in all layers, relative to nothing."""
        return self.box_deltas(hidden).sigmoid()

    def box_deltas(self, hidden: Tensor) -> Tensor:
        """Boxes (B, Q, 4) before the sigmoid."""
        return self.fc_reg(F.relu(self.reg_ffn(hidden)))


@MODELS.register_module()
class ConditionalDETRHead(DETRHead):
    """The head of DETR, whose boxes are relative to the reference points of their queries; see ``QueryHead``."""

    def init_weights(self) -> None:
        """Start with a probability of 0.01 for every class."""
        super().init_weights()
        # nearly all queries are background: a focal loss would begin with a huge gradient (RetinaNet, arXiv 1708.02002)
        if self.use_sigmoid_cls:
            nn.init.constant_(self.fc_cls.bias, bias_init_with_prob(0.01))

    def regress(self, layer: int, hidden: Tensor, reference: Tensor) -> Tensor:
        """Boxes (B, Q, 4) of the same network in all layers, relative to reference points (B, Q, 2)."""
        # the eps of Conditional DETR and DAB-DETR; Deformable DETR has 1e-5
        return refine_references(reference, self.box_deltas(hidden), eps=1e-3)


@MODELS.register_module()
class DABDETRHead(ConditionalDETRHead):
    """A linear layer for classes and a small network that refines reference boxes; see ``QueryHead``."""

    def build_layers(self) -> None:
        """One classifier and one box network for all layers; the decoder refines references by the same network."""
        self.fc_cls = nn.Linear(self.embed_dims, self.cls_out_channels)
        self.fc_reg = MLP(self.embed_dims, self.embed_dims, 4, self.num_reg_fcs + 1)

    def init_weights(self) -> None:
        """Start with a probability of 0.01 for every class, and with boxes that are their references."""
        super().init_weights()
        constant_init(self.fc_reg.layers[-1], 0, bias=0)

    def box_deltas(self, hidden: Tensor) -> Tensor:
        return self.fc_reg(hidden)
