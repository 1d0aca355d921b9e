"""Selection of distinct queries: Dense Distinct Query for End-to-End Object Detection, arXiv 2303.12776."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmdetlike.structures.bbox import bbox_cxcywh_to_xyxy
from mmdetlike_ops import batched_nms

from .common import ENCODER, InitialQueries, QueryOutputs


class DistinctQueries:
    """Before each decoder layer, hides those queries from each other whose boxes better queries suppress.

    One-to-one matching gives one of several alike queries an object and calls the others background, which no network
    can tell apart. Between distinct queries it can.

    Called as the decoder's ``self_attn_mask``; ``candidates`` holds, for each layer that has run, which queries may be
    objects.

    Args:
        classify: (layer, queries (B, Q, C)) -> class logits (B, Q, classes).
        nms_cfg: Arguments of ``batched_nms``, applied to boxes of all classes at once.
        num_heads: Heads of self-attention.
        matching: Which of all N queries are the Q to match.
        present: (B, N) False for queries that only pad images with fewer proposals.
        attn_mask: (N, N) True where a query must not look at another.
    """

    def __init__(
        self,
        classify: Callable[[int, Tensor], Tensor],
        nms_cfg: dict,
        num_heads: int,
        matching: slice,
        present: Tensor,
        attn_mask: Tensor,
    ) -> None:
        self.classify, self.nms_cfg, self.num_heads = classify, nms_cfg, num_heads
        self.matching = matching
        # padding is seen by nothing, and sees all: attention to nothing has no value
        self.attn_mask = (attn_mask | ~present[:, None]) & present[:, :, None]
        self.present = present[:, matching]
        self.candidates: list[Tensor] = []

    def __call__(self, layer: int, query: Tensor, references: Tensor) -> Tensor:
        """The mask (B * heads, N, N) of self-attention in a layer, of all queries (B, N, C) before it."""
        kept = self.present
        if layer > 0:
            logits = self.classify(layer - 1, query[:, self.matching])
            kept = distinct(logits, references[:, self.matching], self.nms_cfg, self.candidates[-1])
        # As recorded of the original, which reads from the first row of its mask who may be an object: suppressed
        # queries are left out only where the first query, the best proposal, has been suppressed itself.
        self.candidates.append(kept | (kept[:, :1] & self.present))
        # suppressed queries see those that are left and are seen by them, but don't see each other
        mask = self.attn_mask.clone()
        mask[:, self.matching, self.matching] |= ~kept[:, :, None] & ~kept[:, None] & self.present[:, :, None]
        return mask.repeat_interleave(self.num_heads, dim=0)


@torch.no_grad()
def distinct(logits: Tensor, boxes: Tensor, nms_cfg: dict, candidates: Tensor | None = None) -> Tensor:
    """Which boxes (B, Q, 4) cx, cy, w, h of each image no better one suppresses by ``batched_nms``, (B, Q) bool.

    A box is as good as the best of its ``logits`` (B, Q, classes). ``candidates`` (B, Q) take part; None for all.
    """
    scores = logits.max(-1).values.sigmoid().float()
    if candidates is not None:
        # ranked last, they suppress nothing but each other; leaving them out would make shapes depend on their number
        scores = torch.where(candidates, scores, -1.0)
    kept = torch.zeros_like(scores, dtype=torch.bool)
    for image, image_scores, image_boxes in zip(kept, scores, bbox_cxcywh_to_xyxy(boxes).float()):
        one_class = torch.zeros(len(image_scores), dtype=torch.long, device=scores.device)
        image[batched_nms(image_boxes, image_scores, one_class, nms_cfg, class_agnostic=True)[1]] = True
    return kept if candidates is None else kept & candidates


@dataclass
class DDQQueries(InitialQueries):
    """The queries before the first decoder layer: denoising, distinct and, in training, D dense ones, in this order.

    Attributes:
        selection: Chooses distinct queries before each layer.
        num_dense: D.
        dense_cls_score: (B, D, classes) logits of the dense proposals; None in testing.
        dense_bbox_pred: (B, D, 4) their boxes, cx, cy, w, h in [0, 1].
        dense_present: (B, D) False for what pads images with fewer proposals.
    """

    selection: DistinctQueries | None = None
    num_dense: int = 0
    dense_cls_score: Tensor | None = None
    dense_bbox_pred: Tensor | None = None
    dense_present: Tensor | None = None


@dataclass
class DDQOutputs(QueryOutputs):
    """What the transformer of DDQ hands to its head.

    Attributes:
        selection: Chose distinct queries before each layer.
        dense_hidden_states: Dense queries (B, D, C) after each decoder layer; empty in testing.
        dense_references: (B, D, 4) what their boxes are relative to.
        dense_cls_score, dense_bbox_pred, dense_present: As of ``DDQQueries``.
    """

    selection: DistinctQueries | None = None
    dense_hidden_states: Sequence[Tensor] = field(default_factory=list)
    dense_references: Sequence[Tensor] = field(default_factory=list)
    dense_cls_score: Tensor | None = None
    dense_bbox_pred: Tensor | None = None
    dense_present: Tensor | None = None

    def candidates(self, layer: int) -> Tensor:
        """The queries (B, Q) that are distinct in a decoder layer."""
        return self.selection.present if layer == ENCODER else self.selection.candidates[layer]
