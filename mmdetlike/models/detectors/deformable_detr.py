"""Deformable DETR, arXiv 2010.04159, and DINO, arXiv 2203.03605."""

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.query import CdnQueryGenerator, InitialQueries, QueryContext
from mmdetlike.models.layers import build_part
from mmdetlike.models.layers.transformer import (
    DeformableDecoder,
    DeformableEncoder,
    DINODecoder,
    FlatPyramid,
    flatten_pyramid,
    sine_encoding,
)
from mmdetlike.registry import MODELS
from mmdetlike.utils.sizes import size_tensor

from .detr import DetectionTransformer


@MODELS.register_module()
class DeformableDETR(DetectionTransformer):
    """Deformable DETR: Deformable Transformers for End-to-End Object Detection, arXiv 2010.04159.

    Args:
        decoder: Arguments of ``DeformableDecoder``.
        with_box_refine: Every decoder layer refines the references of the next.
        as_two_stage: The queries' references are the encoder's best proposals.
        num_feature_levels: Levels of the pyramid.
    """

    encoder_class = DeformableEncoder
    decoder_class = DeformableDecoder

    def __init__(
        self,
        decoder: dict,
        bbox_head: dict,
        with_box_refine: bool = False,
        as_two_stage: bool = False,
        num_feature_levels: int = 4,
        **kwargs,
    ) -> None:
        self.with_box_refine, self.as_two_stage = with_box_refine, as_two_stage
        self.num_feature_levels = num_feature_levels
        layers = decoder['num_layers'] + (1 if as_two_stage else 0)
        head = dict(bbox_head, share_pred_layer=not with_box_refine, num_pred_layer=layers, as_two_stage=as_two_stage)
        super().__init__(decoder=decoder, bbox_head=head, **kwargs)

    def build_queries(self) -> None:
        dims = self.embed_dims
        self.level_embed = nn.Parameter(torch.randn(self.num_feature_levels, dims))
        if self.as_two_stage:
            self.build_proposals()
            self.pos_trans_fc = nn.Linear(dims * 2, dims * 2)
            self.pos_trans_norm = nn.LayerNorm(dims * 2)
        else:
            self.query_embedding = nn.Embedding(self.num_queries, dims * 2)
            self.reference_points_fc = nn.Linear(dims, 2)

    def build_proposals(self) -> None:
        """What pixels go through before the head reads proposals from them."""
        self.memory_trans_fc = nn.Linear(self.embed_dims, self.embed_dims)
        self.memory_trans_norm = nn.LayerNorm(self.embed_dims)

    def init_weights(self) -> None:
        """Initialize the layers around the transformer by Xavier, then all parts as they and the config say."""
        with torch.no_grad():
            self.init_queries()
        super().init_weights()

    def init_queries(self) -> None:
        """Hook: initialize what ``build_queries`` made; embeddings of queries keep their normal distribution."""
        for embedding in self.parameters(recurse=False):
            nn.init.normal_(embedding)
        for layer in self.children():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
        if not self.as_two_stage:
            nn.init.zeros_(self.reference_points_fc.bias)

    def flatten(self, feats: tuple[Tensor, ...], context: QueryContext) -> FlatPyramid:
        """All feature maps in one row; positions tell levels apart."""
        return flatten_pyramid(feats, context.padding_masks, self.positional_encoding, self.level_embed)

    def initial_queries(self, pyramid: FlatPyramid, memory: Tensor, context: QueryContext) -> InitialQueries:
        """Learned queries, or those of the likeliest proposals."""
        if self.as_two_stage:
            return self.queries_of_proposals(*self.propose(pyramid, memory, context))
        positions, content = self.query_embedding.weight.expand(len(memory), -1, -1).chunk(2, dim=-1)
        return InitialQueries(content, positions, self.reference_points_fc(positions).sigmoid())

    def propose(self, pyramid: FlatPyramid, memory: Tensor, context: QueryContext) -> tuple[Tensor, Tensor]:
        """Class logits (B, S, classes) and boxes (B, S, 4), before the sigmoid, of every pixel."""
        return self.bbox_head.propose(*self.proposal_inputs(pyramid, memory), context)

    def proposal_inputs(self, pyramid: FlatPyramid, memory: Tensor) -> tuple[Tensor, Tensor]:
        """What the head makes proposals from: pixels (B, S, C) and anchors (B, S, 4) before the sigmoid."""
        anchors, usable = proposal_anchors(pyramid)
        # pixels that may not propose say the same in every image, whatever their padding holds
        memory = memory * usable[..., None]
        return self.memory_trans_norm(self.memory_trans_fc(memory)), anchors

    def queries_of_proposals(self, scores: Tensor, boxes: Tensor) -> InitialQueries:
        """Queries whose content, positions and references are encodings of the likeliest proposals."""
        # proposals are objects or background: only the first logit means anything
        best = scores[..., 0].topk(min(self.num_queries, scores.shape[1]), dim=1).indices
        references = boxes.gather(1, best[..., None].expand(-1, -1, 4)).detach().sigmoid()
        encoded = sine_encoding(references * (2 * torch.pi), self.embed_dims // 2).flatten(2)
        positions, content = self.pos_trans_norm(self.pos_trans_fc(encoded)).chunk(2, dim=-1)
        return InitialQueries(content, positions, references, enc_cls_score=scores, enc_bbox_pred=boxes.sigmoid())

    def refining_branches(self, queries: InitialQueries) -> Sequence[Callable[[Tensor], Tensor]] | None:
        return self.bbox_head.reg_branches if self.with_box_refine else None


@MODELS.register_module()
class DINO(DeformableDETR):
    """DINO: DETR with Improved DeNoising Anchor Boxes for End-to-End Object Detection, arXiv 2203.03605.

    Args:
        dn_cfg: Arguments of ``CdnQueryGenerator``.

    Raises:
        ConfigError: ``as_two_stage`` or ``with_box_refine`` is False.
    """

    decoder_class = DINODecoder

    def __init__(self, dn_cfg: dict | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        if not (self.as_two_stage and self.with_box_refine):
            raise ConfigError(f'{type(self).__name__} needs as_two_stage=True and with_box_refine=True')
        sizes = dict(embed_dims=self.embed_dims, num_matching_queries=self.num_queries)
        classes = self.bbox_head.num_classes
        self.dn_query_generator = build_part(dn_cfg, CdnQueryGenerator, num_classes=classes, **sizes)

    def build_queries(self) -> None:
        self.level_embed = nn.Parameter(torch.randn(self.num_feature_levels, self.embed_dims))
        self.query_embedding = nn.Embedding(self.num_queries, self.embed_dims)
        self.build_proposals()

    def initial_queries(self, pyramid: FlatPyramid, memory: Tensor, context: QueryContext) -> InitialQueries:
        """Learned content at the best proposals and, in training, noisy objects before them."""
        pixels, anchors = self.proposal_inputs(pyramid, memory)
        scores, boxes = self.bbox_head.propose(pixels, anchors, context)
        logits = self.bbox_head.class_logits(scores, context)
        best = logits.max(-1).values.topk(min(self.num_queries, scores.shape[1]), dim=1).indices
        queries = self.queries_of_best(pixels, scores, boxes, best)
        # raw outputs and predictions may be asked for in training mode too, without objects
        if self.training and context.has_objects:
            return self.add_denoising(queries, context)
        return queries

    def queries_of_best(self, pixels: Tensor, scores: Tensor, boxes: Tensor, best: Tensor) -> InitialQueries:
        """Queries at the proposals number ``best`` (B, Q) of all pixels; these alone are supervised."""
        scores, boxes, pixels = (
            x.gather(1, best[..., None].expand(-1, -1, x.shape[-1])) for x in (scores, boxes, pixels)
        )
        references = boxes.sigmoid()
        content = self.query_content(pixels)
        return InitialQueries(content, references=references.detach(), enc_cls_score=scores, enc_bbox_pred=references)

    def query_content(self, pixels: Tensor) -> Tensor:
        """Hook: content (B, Q, C) of queries at proposals that were made from ``pixels`` (B, Q, C)."""
        # an image may have fewer pixels than there are queries
        return self.query_embedding.weight[: pixels.shape[1]].expand(len(pixels), -1, -1)

    def add_denoising(self, queries: InitialQueries, context: QueryContext) -> InitialQueries:
        """The same queries with noisy objects before them."""
        noisy = self.dn_query_generator(context.samples, queries.content.shape[1])
        # without objects the embedding takes no part, which distributed training would complain about
        unused = self.dn_query_generator.label_embedding.weight[0, 0] * 0.0
        content = torch.cat([noisy.content, queries.content + unused], dim=1)
        references = torch.cat([noisy.boxes.sigmoid(), queries.references], dim=1)
        return dataclasses.replace(
            queries, content=content, references=references, attn_mask=noisy.attn_mask, denoising=noisy
        )


def proposal_anchors(pyramid: FlatPyramid) -> tuple[Tensor, Tensor]:
    """A box (B, S, 4) at every pixel, twice as large in each coarser level, and where it may be proposed (B, S) bool.

    Boxes are cx, cy, w, h before the sigmoid, infinite where they may not be: on padding and at the very border.
    """
    boxes = []
    like = dict(dtype=pyramid.feats.dtype, device=pyramid.feats.device)
    for level, ((height, width), ratios) in enumerate(zip(pyramid.sizes, pyramid.valid_ratios.unbind(1))):
        y = torch.arange(height, **like) + 0.5
        x = torch.arange(width, **like) + 0.5
        grid = torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1).reshape(1, -1, 2)
        # divided by the size of the image in this level, a whole number of pixels
        extent = (ratios * size_tensor([width, height], dtype=ratios.dtype, device=ratios.device)).round()
        centers = grid / extent[:, None]
        boxes.append(torch.cat([centers, torch.full_like(centers, 0.05 * 2.0**level)], dim=-1))
    boxes = torch.cat(boxes, dim=1)
    usable = ((boxes > 0.01) & (boxes < 0.99)).all(-1)
    if pyramid.padding_mask is not None:
        usable = usable & ~pyramid.padding_mask
    # infinite before the sigmoid is 1 after it, which no network can move: such a box matches no object
    return (boxes / (1 - boxes)).log().masked_fill(~usable[..., None], torch.inf), usable
