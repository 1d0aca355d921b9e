"""D-FINE: Redefine Regression Task in DETRs as Fine-grained Distribution Refinement, arXiv 2410.13842."""

from torch import nn

from mmdetlike.models.layers import build_part
from mmdetlike.models.layers.transformer import DFINEDecoder
from mmdetlike.registry import MODELS

from .deformable_detr import DINO
from .rt_detr import DecoderOnNeck, NeckAsEncoder


@MODELS.register_module()
class DFINE(DecoderOnNeck, DINO):
    """RT-DETR with ``DFINEHybridEncoder`` as neck, ``DFINEDecoder`` and ``DFINEHead``.

    Its arguments are those of ``DecoderOnNeck``.
    """

    def build_transformer(self, encoder: dict, decoder: dict) -> None:
        """A decoder whose edges are the distributions that the head is made for."""
        self.decoder = build_part(decoder, DFINEDecoder, offsets=self.bbox_head.offsets)
        self.encoder = NeckAsEncoder(self.decoder.embed_dims)

    def build_queries(self) -> None:
        """As of ``DecoderOnNeck``; maps that have the width of queries already are not projected."""
        super().build_queries()
        if self.neck_channels in (None, self.embed_dims):
            self.input_proj = nn.Identity()
