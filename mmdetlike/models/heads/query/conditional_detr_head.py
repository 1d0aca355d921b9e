"""The head of Conditional DETR, arXiv 2108.06152."""

from mmengine.model import bias_init_with_prob
from torch import Tensor, nn

from mmdetlike.models.layers.transformer import refine_references
from mmdetlike.registry import MODELS

from .detr_head import DETRHead


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
