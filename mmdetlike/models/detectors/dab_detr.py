"""DAB-DETR: Dynamic Anchor Boxes are Better Queries for DETR, arXiv 2201.12329."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.query import InitialQueries, QueryContext
from mmdetlike.models.layers import build_part
from mmdetlike.models.layers.transformer import DABDecoder, DABEncoder, FlatPyramid, inverse_sigmoid
from mmdetlike.registry import MODELS

from .detr import DetectionTransformer


@MODELS.register_module()
class DABDETR(DetectionTransformer):
    """DETR whose queries are boxes, refined layer by layer.

    Args:
        with_random_refpoints: Keep the centers of the boxes as they are drawn: spread evenly over the image.
        num_patterns: Contents that each box starts with: that many queries for each; 0 for one without content.
    """

    def __init__(self, *, with_random_refpoints: bool = False, num_patterns: int = 0, **kwargs) -> None:
        if num_patterns < 0:
            raise ConfigError(f'num_patterns must be at least 0, got {num_patterns}')
        self.with_random_refpoints, self.num_patterns = with_random_refpoints, num_patterns
        super().__init__(**kwargs)

    def build_transformer(self, encoder: dict, decoder: dict) -> None:
        self.encoder = build_part(encoder, DABEncoder)
        self.decoder = build_part(decoder, DABDecoder)

    def build_queries(self) -> None:
        """A box for each query, before the sigmoid, and patterns."""
        self.query_embedding = nn.Embedding(self.num_queries, self.decoder.query_dim)
        if self.num_patterns:
            self.patterns = nn.Embedding(self.num_patterns, self.embed_dims)

    def init_weights(self) -> None:
        """Spread fixed centers over the image; then initialize all parts as they and the config say."""
        if self.with_random_refpoints:
            with torch.no_grad():
                self.query_embedding.weight[:, :2] = inverse_sigmoid(torch.rand(self.num_queries, 2))
        super().init_weights()

    def initial_queries(self, pyramid: FlatPyramid, memory: Tensor, context: QueryContext) -> InitialQueries:
        """Learned boxes, without content or with each of the patterns."""
        boxes = self.query_embedding.weight
        if self.with_random_refpoints:
            boxes = torch.cat([boxes[:, :2].detach(), boxes[:, 2:]], dim=-1)
        if self.num_patterns:
            content = self.patterns.weight.repeat_interleave(self.num_queries, dim=0)
            boxes = boxes.repeat(self.num_patterns, 1)
        else:
            content = boxes.new_zeros(self.num_queries, self.embed_dims)
        batch = len(memory)
        references = boxes.sigmoid().expand(batch, -1, -1)
        return InitialQueries(content.expand(batch, -1, -1), references=references)

    def refining_branches(self, queries: InitialQueries) -> Sequence[Callable[[Tensor], Tensor]]:
        return [self.bbox_head.box_deltas] * self.decoder.num_layers
