"""D-FINE: Redefine Regression Task in DETRs as Fine-grained Distribution Refinement, arXiv 2410.13842."""

from torch import nn

from mmdetlike.models.layers import build_part
from mmdetlike.models.layers.transformer import DFINEDecoder
from mmdetlike.registry import MODELS

from .deformable_detr import DINO
from .rt_detr import EncodedByNeck


@MODELS.register_module()
class DFINE(EncodedByNeck, DINO):
    """A backbone, ``DFINEHybridEncoder`` as neck, ``DFINEDecoder`` and ``DFINEHead``; see ``EncodedByNeck``."""

    def build_decoder(self, cfg: dict) -> DFINEDecoder:
        """A decoder whose edges are the distributions that the head is made for."""
        return build_part(cfg, DFINEDecoder, offsets=self.bbox_head.offsets)

    def build_queries(self) -> None:
        """As of RT-DETR; maps that have the width of queries already are not projected."""
        super().build_queries()
        if self.neck_channels in (None, self.embed_dims):
            self.input_proj = nn.Identity()
