"""Deformable DETR, arXiv 2010.04159, and DINO, arXiv 2203.03605."""

import torch
from torch import Tensor, nn

from mmdetlike.models.heads.query import QueryOutputs
from mmdetlike.models.layers.transformer import (
    CdnQueryGenerator,
    DeformableDecoder,
    FlatPyramid,
    TransformerEncoder,
    flatten_pyramid,
    sine_encoding,
)
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .detr import DetectionTransformer


@MODELS.register_module()
class DeformableDETR(DetectionTransformer):
    """Deformable DETR: Deformable Transformers for End-to-End Object Detection, arXiv 2010.04159.

    Args:
        with_box_refine: Every decoder layer moves the references of the next.
        as_two_stage: The queries' references are the encoder's best proposals.
        num_feature_levels: Levels of the pyramid.
        kwargs: See ``DetectionTransformer``.
    """

    pos_from_reference = False

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

    def _build_transformer(self, encoder: dict, decoder: dict) -> None:
        self.encoder = TransformerEncoder(**encoder, deformable=True)
        self.decoder = DeformableDecoder(**decoder, pos_from_reference=self.pos_from_reference)

    def _build_queries(self) -> None:
        dims = self.embed_dims
        self.level_embed = nn.Parameter(torch.randn(self.num_feature_levels, dims))
        if not self.as_two_stage:
            self.query_embedding = nn.Embedding(self.num_queries, dims * 2)
            self.reference_points_fc = nn.Linear(dims, 2)
            return
        self.memory_trans_fc, self.memory_trans_norm = nn.Linear(dims, dims), nn.LayerNorm(dims)
        self.pos_trans_fc, self.pos_trans_norm = nn.Linear(dims * 2, dims * 2), nn.LayerNorm(dims * 2)

    def init_weights(self) -> None:
        """Initialise as the config says, the transformer by Xavier, deformable attention as its paper."""
        super().init_weights()
        with torch.no_grad():
            for module in self.modules():
                if hasattr(module, 'sampling_offsets'):
                    module.init_weights()
            nn.init.normal_(self.level_embed)
            for name in ('reference_points_fc', 'memory_trans_fc', 'pos_trans_fc'):
                if hasattr(self, name):
                    nn.init.xavier_uniform_(getattr(self, name).weight)
            if hasattr(self, 'reference_points_fc'):
                nn.init.zeros_(self.reference_points_fc.bias)

    def transform(self, feats: tuple[Tensor, ...], masks: Tensor | None, samples: SampleList | None) -> QueryOutputs:
        """Encode the pyramid, start the queries, decode."""
        pyramid = flatten_pyramid(feats, masks, self.positional_encoding, self.level_embed)
        memory = self.encoder.encode(pyramid)
        if self.as_two_stage:
            scores, boxes = self.propose(pyramid, memory)
            query, query_pos, references = self.queries_of_proposals(scores, boxes)
            proposals = dict(enc_cls_score=scores, enc_bbox_pred=boxes.sigmoid())
        else:
            query_pos, query = self.query_embedding.weight.expand(len(memory), -1, -1).chunk(2, dim=-1)
            references, proposals = self.reference_points_fc(query_pos).sigmoid(), {}
        branches = self.bbox_head.reg_branches if self.with_box_refine else None
        outs = self.decoder(query, query_pos, references, pyramid, memory, reg_branches=branches)
        return QueryOutputs(*outs, **proposals)

    def propose(self, pyramid: FlatPyramid, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (B, S, classes) and boxes (B, S, 4), before the sigmoid, of every pixel."""
        anchors, usable = proposal_anchors(pyramid)
        memory = memory * usable[..., None]
        memory = self.memory_trans_norm(self.memory_trans_fc(memory))
        last = self.decoder.num_layers
        boxes = self.bbox_head.reg_branches[last](memory) + anchors
        return self.bbox_head.cls_branches[last](memory), boxes

    def queries_of_proposals(self, scores: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Content, positions and references of the queries, from the likeliest proposals."""
        best = scores[..., 0].topk(min(self.num_queries, scores.shape[1]), dim=1).indices
        boxes = boxes.gather(1, best[..., None].expand(-1, -1, 4)).detach()
        encoded = sine_encoding(boxes.sigmoid() * (2 * torch.pi), self.embed_dims // 2).flatten(2)
        query_pos, query = self.pos_trans_norm(self.pos_trans_fc(encoded)).chunk(2, dim=-1)
        return query, query_pos, boxes.sigmoid()


@MODELS.register_module()
class DINO(DeformableDETR):
    """DINO: DETR with Improved DeNoising Anchor Boxes for End-to-End Object Detection, arXiv 2203.03605.

    Args:
        dn_cfg: Arguments of ``CdnQueryGenerator``.
        kwargs: See ``DeformableDETR``.

    Raises:
        ValueError: ``as_two_stage`` or ``with_box_refine`` is False.
    """

    pos_from_reference = True

    def __init__(self, dn_cfg: dict | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        if not (self.as_two_stage and self.with_box_refine):
            raise ValueError('DINO needs as_two_stage=True and with_box_refine=True')
        sizes = dict(
            num_classes=self.bbox_head.num_classes, embed_dims=self.embed_dims, num_matching_queries=self.num_queries
        )
        self.dn_query_generator = CdnQueryGenerator(**{**(dn_cfg or {}), **sizes})

    def _build_queries(self) -> None:
        dims = self.embed_dims
        self.level_embed = nn.Parameter(torch.randn(self.num_feature_levels, dims))
        self.query_embedding = nn.Embedding(self.num_queries, dims)
        self.memory_trans_fc, self.memory_trans_norm = nn.Linear(dims, dims), nn.LayerNorm(dims)

    def transform(self, feats: tuple[Tensor, ...], masks: Tensor | None, samples: SampleList | None) -> QueryOutputs:
        """Encode the pyramid, start queries from its best proposals and, in training, from noisy objects; decode."""
        pyramid = flatten_pyramid(feats, masks, self.positional_encoding, self.level_embed)
        memory = self.encoder.encode(pyramid)
        scores, boxes = self.propose(pyramid, memory)
        best = scores.max(-1).values.topk(min(self.num_queries, scores.shape[1]), dim=1).indices[..., None]
        scores, boxes = (x.gather(1, best.expand(-1, -1, x.shape[-1])) for x in (scores, boxes))
        query, references = self.query_embedding.weight[: scores.shape[1]].expand(len(memory), -1, -1), boxes.detach()
        noisy, mask = None, None
        if samples is not None:
            noisy = self.dn_query_generator(samples, query.shape[1])
            query = torch.cat([noisy.content, query], dim=1)
            references = torch.cat([noisy.boxes, references], dim=1)
            mask = noisy.attn_mask[: query.shape[1], : query.shape[1]]  # a small image has fewer proposals than queries
        outs = self.decoder(
            query, None, references.sigmoid(), pyramid, memory, mask, reg_branches=self.bbox_head.reg_branches
        )
        if noisy is not None:
            # without objects the embedding takes no part, which distributed training would complain about
            outs[0][0] = outs[0][0] + self.dn_query_generator.label_embedding.weight[0, 0] * 0.0
        return QueryOutputs(*outs, scores, boxes.sigmoid(), noisy)


def proposal_anchors(pyramid: FlatPyramid) -> tuple[Tensor, Tensor]:
    """A box at every pixel, twice as large in each coarser level.

    Returns:
        (B, S, 4) cx, cy, w, h before the sigmoid, infinite where it may not be proposed; and (B, S) bool, where it may:
        not on padding and at the very border.
    """
    boxes, like = [], dict(dtype=pyramid.feats.dtype, device=pyramid.feats.device)
    for level, ((height, width), ratios) in enumerate(zip(pyramid.sizes, pyramid.valid_ratios.unbind(1))):
        y, x = torch.arange(height, **like) + 0.5, torch.arange(width, **like) + 0.5
        grid = torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1).reshape(1, -1, 2)
        centres = grid / (ratios * ratios.new_tensor([width, height])).round()[:, None]
        boxes.append(torch.cat([centres, torch.full_like(centres, 0.05 * 2.0**level)], dim=-1))
    boxes = torch.cat(boxes, dim=1)
    usable = ((boxes > 0.01) & (boxes < 0.99)).all(-1)
    if pyramid.padding_mask is not None:
        usable = usable & ~pyramid.padding_mask
    return (boxes / (1 - boxes)).log().masked_fill(~usable[..., None], torch.inf), usable
