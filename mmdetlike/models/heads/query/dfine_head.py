"""The head of D-FINE: Redefine Regression Task in DETRs as Fine-grained Distribution Refinement, arXiv 2410.13842."""

from collections.abc import Sequence

import torch
from mmengine.model import constant_init
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers.transformer import MLP, EdgeOffsets, RefinedBoxes, mlp
from mmdetlike.models.losses import VarifocalLoss
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps, bbox_xyxy_to_cxcywh
from mmdetlike.utils.dist import mean_over_ranks

from .common import QueryContext, QueryOutputs, QueryTargets, denoising_targets, query_targets
from .deformable_detr_head import RTDETRHead

# (class logits, boxes, distributions of the boxes' edges, if they come from any)
Predictions = tuple[Tensor, Tensor, RefinedBoxes | None]
VARIFOCAL = dict(type='VarifocalLoss', use_sigmoid=True, alpha=0.75, gamma=2.0)
DISTRIBUTION_FOCAL = dict(type='DistributionFocalLoss', loss_weight=0.15)
DISTILLATION = dict(type='DecoupledDistillationFocalLoss', T=5.0, loss_weight=1.5)


@MODELS.register_module()
class DFINEHead(RTDETRHead):
    """A head whose box networks change the distributions of edges, the certainty of which is added to the scores.

    Where layers match different queries with an object, each learns the boxes of all these pairs (GO-LSD of the paper).

    Args:
        num_bins, up, reg_scale: As of ``EdgeOffsets``.
        top_bins: The largest probabilities of an edge that tell how certain it is, beside their mean.
        loss_cls: A ``VarifocalLoss``; else ``ConfigError``.
        loss_edges: Loss of logits (n, N + 1) and of where the edges should be among the bins (n,): FGL of the paper.
        loss_distill: Loss by which the last layer teaches the others: DDF of the paper.
        kwargs: Other arguments of ``DeformableDETRHead``.
    """

    def __init__(
        self,
        num_classes: int,
        num_bins: int = 32,
        up: float = 0.5,
        reg_scale: float = 4.0,
        top_bins: int = 4,
        loss_cls: dict = VARIFOCAL,
        loss_edges: dict = DISTRIBUTION_FOCAL,
        loss_distill: dict = DISTILLATION,
        **kwargs,
    ) -> None:
        # before ``super``, which makes the layers
        self.num_bins, self.top_bins = num_bins, top_bins
        super().__init__(num_classes, loss_cls=loss_cls, **kwargs)
        if not isinstance(self.loss_cls, VarifocalLoss):
            raise ConfigError(f'loss_cls of DFINEHead must be a VarifocalLoss, got {type(self.loss_cls).__name__}')
        self.offsets = EdgeOffsets(num_bins, up, reg_scale)
        self.loss_edges = MODELS.build(loss_edges)
        self.loss_distill = MODELS.build(loss_distill)

    def build_layers(self) -> None:
        """For each layer a classifier, a network of edges and one of quality; boxes and classes of the encoder."""
        dims = self.embed_dims
        layers = self.num_pred_layer - 1
        edges = mlp(dims, self.num_reg_fcs, 4 * (self.num_bins + 1))
        self.cls_branches = self.build_branches(nn.Linear(dims, self.cls_out_channels), self.num_pred_layer)
        self.reg_branches = self.build_branches(edges, layers)
        self.reg_branches.append(mlp(dims, self.num_reg_fcs, 4))
        self.quality_branches = self.build_branches(MLP(4 * (self.top_bins + 1), 64, 1, 2), layers)

    def init_weights(self) -> None:
        """See ``DeformableDETRHead``; at first the edges' certainty says nothing about the scores."""
        super().init_weights()
        for branch in self.quality_branches:
            constant_init(branch.layers[-1], 0, bias=0)

    def predict_layer(
        self, layer: int, hidden: Tensor, reference: RefinedBoxes, context: QueryContext
    ) -> tuple[Tensor, Tensor]:
        """See ``QueryHead``; the decoder has refined the boxes already."""
        certainty = self.quality_branches[layer](self.certainty(reference.logits))
        return self.classify(layer, hidden, context) + certainty, reference.boxes

    def certainty(self, logits: Tensor) -> Tensor:
        """Of each query the largest probabilities and their mean, edge by edge: (B, Q, 4, N + 1) -> (B, Q, 4 * k)."""
        top = logits.softmax(-1).topk(self.top_bins, dim=-1).values
        return torch.cat([top, top.mean(-1, keepdim=True)], dim=-1).flatten(2)

    def loss(self, outs: QueryOutputs) -> dict[str, Tensor]:
        """Loss terms of all layers, see ``QueryHead``.

        ``pre.`` stands before those of the boxes that the first layer predicts before it refines their edges; ``edges``
        and ``distill`` are the terms of distributions.
        """
        layers = self.all_predictions(outs)
        context = outs.context
        num_noisy = outs.num_denoising
        matched = [part_of(layer, slice(num_noisy, None)) for layer in layers]
        if outs.enc_cls_score is not None:
            matched.append((*float32_if_half(outs.enc_cls_score, outs.enc_bbox_pred), None))
        own = [self.match(cls_score, bbox_pred, None, context) for cls_score, bbox_pred, _ in matched]
        losses = self.deep_losses(matched, own, self.unite(own, context), context)
        if outs.denoising is not None:
            noisy = [part_of(layer, slice(num_noisy)) for layer in layers]
            targets = denoising_targets(outs.denoising, context.samples, self.num_classes)
            losses.update(self.deep_losses(noisy, [targets] * len(noisy), targets, context, prefix='dn_'))
        return losses

    def all_predictions(self, outs: QueryOutputs) -> list[Predictions]:
        """Predictions of all layers, then those of the first one before it refines edges."""
        first = outs.references[0]
        unrefined = float32_if_half(self.classify(0, outs.hidden_states[0], outs.context), first.initial)
        refined = [RefinedBoxes(*float32_if_half(*vars(reference).values())) for reference in outs.references]
        layers = [(*layer, boxes) for layer, boxes in zip(self(outs), refined)]
        return [*layers, (*unrefined, None)]

    @torch.no_grad()
    def unite(self, matches: Sequence[QueryTargets], context: QueryContext) -> QueryTargets:
        """All pairs of a query and an object that ``matches`` hold.

        A query that they give several objects gets that of most of them, of as many the first one of the image.
        """
        num_queries = matches[0].labels.shape[1]
        pairs = torch.cat([torch.stack([match.pos_inds, match.pos_gt_inds], dim=1) for match in matches])
        pairs, counts = pairs.unique(dim=0, return_counts=True)
        # by query, then by how many layers agree; stable, so that equals stay in the order of the objects
        order = counts.argsort(descending=True, stable=True)
        order = order[pairs[order, 0].argsort(stable=True)]
        pairs = pairs[order]
        is_first = torch.ones(len(pairs), dtype=torch.bool, device=pairs.device)
        is_first[1:] = pairs[1:, 0] != pairs[:-1, 0]
        queries, objects = pairs[is_first].unbind(1)
        of_images = []
        for i in range(len(context.samples)):
            own = queries // num_queries == i
            of_images.append((queries[own] - i * num_queries, objects[own]))
        candidates = torch.ones_like(matches[0].labels, dtype=torch.bool)
        return query_targets(of_images, context.samples, candidates, self.num_classes)

    def deep_losses(
        self,
        predictions: Sequence[Predictions],
        own: Sequence[QueryTargets],
        union: QueryTargets,
        context: QueryContext,
        prefix: str = '',
    ) -> dict[str, Tensor]:
        """Loss terms of the decoder layers, of the first one before it refines edges, and perhaps of the encoder.

        ``own`` says what each of the predictions should give scores to, ``union`` what all of them learn boxes from.
        ``prefix`` is put before the names of the terms.
        """
        layers = [layer for layer in predictions if layer[2] is not None]
        names = [f'd{i}.' for i in range(len(layers) - 1)] + ['', 'pre.', 'enc_']
        losses = {}
        for name, (cls_score, bbox_pred, refined), targets in zip(names, predictions, own):
            terms = self.class_terms(cls_score, bbox_pred, targets, context) | self.box_terms(bbox_pred, union)
            if refined is not None:
                terms |= self.edge_terms(refined, layers[-1], union)
            losses.update({f'{name}{prefix}loss_{term}': value for term, value in terms.items()})
        return losses

    def edge_terms(self, refined: RefinedBoxes, teacher: Predictions, targets: QueryTargets) -> dict[str, Tensor]:
        """The terms ``edges`` of a layer's distributions and, unless it is the teacher itself, ``distill``."""
        positives = targets.pos_inds
        normalized = targets.pos_gt_bboxes / targets.pos_sizes
        corners = bbox_cxcywh_to_xyxy(refined.boxes.detach().flatten(0, 1)[positives])
        overlaps = bbox_overlaps(corners, normalized, is_aligned=True)
        initial = refined.initial.detach().flatten(0, 1)[positives]
        offsets = self.offsets.between(initial, bbox_xyxy_to_cxcywh(normalized))
        logits = refined.logits.flatten(0, 1)
        num_pos = mean_over_ranks(len(positives), logits.device, least=1.0)
        terms = dict(
            edges=self.loss_edges(
                logits[positives].flatten(0, 1),
                self.offsets.locate(offsets).flatten(),
                overlaps.repeat_interleave(4),
                avg_factor=num_pos,
            )
        )
        teacher_score, _, teacher_refined = teacher
        if refined is not teacher_refined:
            weight = teacher_score.detach().sigmoid().amax(-1).flatten()
            weight[positives] = overlaps.to(weight.dtype)
            is_matched = torch.zeros_like(weight, dtype=torch.bool)
            is_matched[positives] = True
            rows = (weight.repeat_interleave(4), is_matched.repeat_interleave(4))
            terms['distill'] = self.loss_distill(logits.flatten(0, 1), teacher_refined.logits.flatten(0, 2), *rows)
        return terms


def part_of(predictions: Predictions, queries: slice) -> Predictions:
    """The predictions of some of the queries."""
    cls_score, bbox_pred, refined = predictions
    if refined is not None:
        refined = RefinedBoxes(*(value[:, queries] for value in vars(refined).values()))
    return cls_score[:, queries], bbox_pred[:, queries], refined
