"""DDQ-DETR: Dense Distinct Query for End-to-End Object Detection, arXiv 2303.12776."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from mmdetlike.models.heads.query import DDQOutputs, DDQQueries, DistinctQueries, InitialQueries, QueryContext, distinct
from mmdetlike.models.layers.transformer import FlatPyramid
from mmdetlike.registry import MODELS

from .deformable_detr import DINO

DISTINCT = dict(type='nms', iou_threshold=0.8)


@MODELS.register_module()
class DDQDETR(DINO):
    """DINO whose queries are distinct: those that better ones suppress are not matched.

    Args:
        dense_topk_ratio: Number of dense queries in training, relative to ``num_queries``; several of them learn from
            each object.
        dqs_cfg: Arguments of ``batched_nms``, which chooses distinct queries.
    """

    def __init__(self, *, dense_topk_ratio: float = 1.5, dqs_cfg: dict = DISTINCT, **kwargs) -> None:
        self.dense_topk_ratio, self.dqs_cfg = dense_topk_ratio, dqs_cfg
        super().__init__(**kwargs)

    def build_queries(self) -> None:
        self.level_embed = nn.Parameter(torch.randn(self.num_feature_levels, self.embed_dims))
        self.build_proposals()
        self.query_map = nn.Linear(self.embed_dims, self.embed_dims)

    def initial_queries(self, pyramid: FlatPyramid, memory: Tensor, context: QueryContext) -> DDQQueries:
        """The best distinct proposals with the contents of their pixels.

        In training, noisy objects come before them and dense proposals, which learn by a head of their own, after them.
        """
        pixels, anchors = self.proposal_inputs(pyramid, memory)
        # contents start from what the encoder found; learning them doesn't change it
        content = self.query_map(memory.detach())
        proposals = self.bbox_head.propose(pixels, anchors, context)
        queries, present = self.distinct_queries(content, *proposals, self.num_queries, context)
        num_matching = present.shape[1]
        if not (self.training and context.has_objects):
            return self.with_selection(DDQQueries(**vars(queries)), present, num_matching, context)
        queries = self.add_denoising(queries, context)
        proposals = self.bbox_head.propose_dense(pixels, anchors, context)
        num_dense = int(self.num_queries * self.dense_topk_ratio)
        dense, dense_present = self.distinct_queries(content, *proposals, num_dense, context)
        joined = self.add_dense(queries, dense, dense_present)
        noisy_present = present.new_ones(len(present), queries.content.shape[1] - num_matching)
        everyone = torch.cat([noisy_present, present, dense_present], dim=1)
        return self.with_selection(joined, everyone, num_matching, context)

    def distinct_queries(
        self, content: Tensor, scores: Tensor, boxes: Tensor, count: int, context: QueryContext
    ) -> tuple[InitialQueries, Tensor]:
        """The ``count`` best distinct proposals of each image as queries, and which of them (B, Q) are distinct.

        Each pixel has the ``content`` (B, S, C) of a query, logits ``scores`` (B, S, classes) of its proposal, and its
        box (B, S, 4) before the sigmoid. Images with fewer distinct proposals are padded with suppressed ones, so that
        shapes don't depend on data.
        """
        logits = self.bbox_head.class_logits(scores, context)
        kept = distinct(logits, boxes.sigmoid(), self.dqs_cfg)
        ranking = logits.max(-1).values.masked_fill(~kept, -torch.inf)
        best = ranking.topk(min(count, ranking.shape[1]), dim=1).indices
        return self.queries_of_best(content, scores, boxes, best), kept.gather(1, best)

    def query_content(self, pixels: Tensor) -> Tensor:
        """What ``query_map`` made of the pixels."""
        return pixels

    def add_dense(self, queries: InitialQueries, dense: InitialQueries, dense_present: Tensor) -> DDQQueries:
        """Noisy and distinct queries, and after them dense ones; neither part sees the other."""
        joined = DDQQueries(**vars(queries))
        joined.num_dense = dense.content.shape[1]
        joined.content = torch.cat([queries.content, dense.content], dim=1)
        joined.references = torch.cat([queries.references, dense.references], dim=1)
        dense_sees = queries.attn_mask.new_ones(joined.num_dense, joined.num_dense)
        joined.attn_mask = ~torch.block_diag(~queries.attn_mask, dense_sees).bool()
        joined.dense_cls_score, joined.dense_bbox_pred = dense.enc_cls_score, dense.enc_bbox_pred
        joined.dense_present = dense_present
        return joined

    def with_selection(
        self, queries: DDQQueries, present: Tensor, num_matching: int, context: QueryContext
    ) -> DDQQueries:
        """The queries, with what chooses distinct ones before each layer as their attention mask."""
        total = queries.content.shape[1]
        end = total - queries.num_dense
        mask = queries.attn_mask
        queries.selection = DistinctQueries(
            partial(self.bbox_head.classify, context=context),
            self.dqs_cfg,
            self.decoder.layers[0].self_attn.num_heads,
            slice(end - num_matching, end),
            present,
            present.new_zeros(total, total) if mask is None else mask,
        )
        queries.attn_mask = queries.selection
        return queries

    def decode(self, queries: DDQQueries, pyramid: FlatPyramid, memory: Tensor, context: QueryContext) -> DDQOutputs:
        """Run the decoder, and part distinct and dense queries again."""
        outs = super().decode(queries, pyramid, memory, context)
        outs = DDQOutputs(**vars(outs), selection=queries.selection)
        num_sparse = queries.content.shape[1] - queries.num_dense
        if queries.num_dense:
            outs = dataclasses.replace(
                outs,
                hidden_states=[hidden[:, :num_sparse] for hidden in outs.hidden_states],
                references=[reference[:, :num_sparse] for reference in outs.references],
                dense_hidden_states=[hidden[:, num_sparse:] for hidden in outs.hidden_states],
                dense_references=[reference[:, num_sparse:] for reference in outs.references],
                dense_cls_score=queries.dense_cls_score,
                dense_bbox_pred=queries.dense_bbox_pred,
                dense_present=queries.dense_present,
            )
        return outs

    def refining_branches(self, queries: DDQQueries) -> Sequence[Callable[[Tensor], Tensor]]:
        """The box networks of the head, of which dense queries have their own."""
        branches = super().refining_branches(queries)
        if not queries.num_dense:
            return branches
        num_sparse = queries.content.shape[1] - queries.num_dense

        def both(sparse: nn.Module, dense: nn.Module, query: Tensor) -> Tensor:
            return torch.cat([sparse(query[:, :num_sparse]), dense(query[:, num_sparse:])], dim=1)

        return [partial(both, *pair) for pair in zip(branches, self.bbox_head.aux_reg_branches)]
