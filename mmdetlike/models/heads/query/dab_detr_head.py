"""The head of DAB-DETR, arXiv 2201.12329."""

from mmengine.model import constant_init
from torch import Tensor, nn

from mmdetlike.models.layers.transformer import MLP
from mmdetlike.registry import MODELS

from .conditional_detr_head import ConditionalDETRHead


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
