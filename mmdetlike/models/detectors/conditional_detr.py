"""Conditional DETR for Fast Training Convergence, arXiv 2108.06152."""

import dataclasses

from torch import Tensor

from mmdetlike.models.heads.query import InitialQueries, QueryContext
from mmdetlike.models.layers import build_part
from mmdetlike.models.layers.transformer import ConditionalDecoder, FlatPyramid, TransformerEncoder
from mmdetlike.registry import MODELS

from .detr import DETR


@MODELS.register_module()
class ConditionalDETR(DETR):
    """DETR whose queries attend to the image around reference points; see ``DetectionTransformer``."""

    def build_transformer(self, encoder: dict, decoder: dict) -> None:
        self.encoder = build_part(encoder, TransformerEncoder)
        self.decoder = build_part(decoder, ConditionalDecoder)

    def initial_queries(self, pyramid: FlatPyramid, memory: Tensor, context: QueryContext) -> InitialQueries:
        """Learned positions, without content, and the reference points that lie there."""
        queries = super().initial_queries(pyramid, memory, context)
        return dataclasses.replace(queries, references=self.decoder.ref_point_head(queries.positions).sigmoid())
