"""The one pipeline of dense heads: maps -> flat predictions -> targets and losses, or boxes.

A head supplies its layers (``forward``), how it assigns (``assign``), its terms (``losses``) and how it makes boxes
(``decode``); everything in between is here. Shapes: B images, N priors over all levels, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.task_modules import SamplingResult, anchor_inside_flags
from mmdetlike.models.utils import best_first, suppress
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS, TASK_UTILS
from mmdetlike.structures import SampleList
from mmdetlike.utils.dist import mean_over_ranks

from ..head import Head


@dataclass
class FlatPredictions:
    """What a head predicts for all priors of all levels in a row.

    Attributes:
        maps: name -> (B, N, channels of one prior), e.g. ``cls_score`` and ``bbox_pred``.
        featmap_sizes: Height and width of each level's map.
        num_priors: Priors in each level; their sum is N.
    """

    maps: dict[str, Tensor]
    featmap_sizes: list[tuple[int, int]]
    num_priors: list[int]

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self.__dict__['maps'][name]
        except KeyError:
            raise AttributeError(f'this head predicts {list(self.__dict__.get("maps", ()))}, not {name!r}') from None

    def image(self, index: int) -> 'FlatPredictions':
        """Those of one image, as a batch of one."""
        return replace(self, maps={name: value[index : index + 1] for name, value in self.maps.items()})

    def detach(self) -> 'FlatPredictions':
        """The same values without their graph."""
        return replace(self, maps={name: value.detach() for name, value in self.maps.items()})


@dataclass
class DenseTargets:
    """What the priors of a batch should predict; P positives among the B * N priors.

    Attributes:
        labels: (B, N) int64 class of each prior, ``num_classes`` for background.
        label_weights: (B, N) weight of each prior in the classification loss, 0 where ignored.
        pos_inds: (P,) places of the positives in the flattened (B * N) priors.
        pos_gt_bboxes: (P, 4) the box of each positive's object, xyxy in pixels.
        pos_priors: (P, ...) the prior of each positive.
        avg_factor: What sums of losses are divided by, averaged over processes.
        samplings: What was sampled from each image; where ``usable_priors`` chose some, places count among those.
    """

    labels: Tensor
    label_weights: Tensor
    pos_inds: Tensor
    pos_gt_bboxes: Tensor
    pos_priors: Tensor
    avg_factor: float
    samplings: list[SamplingResult]

    @property
    def pos_labels(self) -> Tensor:
        """(P,) the class of each positive's object."""
        return self.labels.flatten()[self.pos_inds]

    @property
    def num_pos(self) -> float:
        """Positives of the batch, averaged over processes, at least 1."""
        return max(mean_over_ranks(len(self.pos_inds), self.labels.device), 1.0)

    def spread(self, values: Tensor) -> Tensor:
        """(B, N) the positives' ``values`` (P,) at their places, 0 elsewhere."""
        everywhere = values.new_zeros(self.labels.shape)
        everywhere.view(-1)[self.pos_inds] = values
        return everywhere


class DenseHead(Head):
    """Base of the heads that predict at every cell of a feature pyramid.

    A subclass makes its layers in ``_init_layers``. ``map_names`` has one name for each list of maps that ``forward``
    returns. Priors are boxes with ``has_anchors``, else points; ``prior_options`` are handed to ``grid_priors``.

    Args:
        in_channels: Channels of the pyramid maps.
        feat_channels: Channels of hidden layers.
        prior_generator: Makes anchors or points.
        bbox_coder: Encodes boxes against them.
        loss_cls: Classification loss; sigmoid or softmax as its ``use_sigmoid`` says, which FocalLoss has by default.
        loss_bbox: Regression loss, if the head has one.
        kwargs: See ``Head``; ``train_cfg`` has ``assigner``, ``sampler``, ``allowed_border``, ``pos_weight``,
            ``test_cfg`` has ``nms_pre``, ``score_thr``, ``min_bbox_size``, ``nms``, ``max_per_img``.
    """

    map_names: tuple[str, ...] = ('cls_score', 'bbox_pred')
    prior_options: dict = {}
    has_anchors = False
    loss_prefix = 'loss_'
    default_init = dict(type='Normal', layer='Conv2d', std=0.01)

    def __init__(
        self,
        num_classes: int,
        in_channels: int | Sequence[int],
        feat_channels: int = 256,
        *,
        prior_generator: dict,
        bbox_coder: dict,
        loss_cls: dict,
        loss_bbox: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, **kwargs)
        self.in_channels, self.feat_channels = in_channels, feat_channels
        self.loss_cls, self.loss_bbox = MODELS.build(loss_cls), MODELS.build(loss_bbox) if loss_bbox else None
        self.use_sigmoid_cls = getattr(self.loss_cls, 'use_sigmoid', False)
        self.cls_out_channels = num_classes + (not self.use_sigmoid_cls)
        self.prior_generator = TASK_UTILS.build(prior_generator)
        self.num_base_priors = self.prior_generator.num_base_priors[0]
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.sampler = TASK_UTILS.build(self.train_cfg.get('sampler') or dict(type='PseudoSampler'))
        self._init_layers()

    def loss(self, x: Sequence[Tensor], batch_data_samples: SampleList) -> dict[str, list[Tensor]]:
        """Loss terms, one value a level, of pyramid maps ``x`` (B, C, H_i, W_i) against the samples' objects."""
        return self._loss(self.flatten(self(x)), batch_data_samples)

    def loss_with_positives(
        self, x: Sequence[Tensor], batch_data_samples: SampleList
    ) -> tuple[dict[str, list[Tensor]], list[InstanceData]]:
        """The loss terms, and what a mask branch trains on: the ``positives`` of each image."""
        preds = self.flatten(self(x))
        priors = self.priors(preds)
        targets = self.targets(preds, priors, batch_data_samples)
        return self._named_losses(preds, priors, targets), self.positives(preds, targets)

    def predict(self, x: Sequence[Tensor], batch_data_samples: SampleList, rescale: bool = False) -> list[InstanceData]:
        """Boxes of each image.

        Args:
            x: Pyramid maps (B, C, H_i, W_i).
            batch_data_samples: Samples with ``img_shape`` and, to rescale, ``scale_factor``.
            rescale: Put out boxes in pixels of the original image.

        Returns:
            For each image ``bboxes`` (n, 4) xyxy, ``scores`` (n,) falling, ``labels`` (n,).
        """
        return self._predict(self.flatten(self(x)), batch_data_samples, self.test_cfg, rescale)

    def loss_and_predict(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, proposal_cfg: ConfigDict | None = None
    ) -> tuple[dict[str, list[Tensor]], list[InstanceData]]:
        """Both of the above from one forward pass, as a first stage needs; boxes carry no gradient."""
        preds = self.flatten(self(x))
        losses = self._loss(preds, batch_data_samples)
        return losses, self._predict(preds.detach(), batch_data_samples, proposal_cfg or self.test_cfg, False)

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Maps (B, C, H_i, W_i) -> one list of maps for each of ``map_names``."""
        return tuple(list(maps) for maps in zip(*[self.forward_level(i, level) for i, level in enumerate(x)]))

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level, one for each of ``map_names``."""
        raise NotImplementedError

    # -- flat predictions and priors ---------------------------------------------------------------------------------

    def flatten(self, outs: Sequence[Sequence[Tensor]]) -> FlatPredictions:
        """Lists of maps (B, A_i * c, H_i, W_i), one list a name -> tensors (B, N, c), cell by cell.

        Maps in half precision become float32: losses and boxes need its range under autocast.
        """
        sizes = [tuple(level.shape[-2:]) for level in outs[0]]
        num_base = self.prior_generator.num_base_priors
        num_priors = [h * w * a for (h, w), a in zip(sizes, num_base)]
        maps = {}
        for name, levels in zip(self.map_names, outs):
            flat = [m.permute(0, 2, 3, 1).reshape(len(m), n, -1) for m, n in zip(levels, num_priors)]
            maps[name] = float32_if_half(torch.cat(flat, dim=1))[0]
        return FlatPredictions(maps, sizes, num_priors)

    def priors(self, preds: FlatPredictions) -> Tensor:
        """All priors in a row, in pixels: anchors (N, 4), points (N, 2) or, with their strides x and y, (N, 4).

        They are kept for the sizes seen last; a compiled graph has them as constants.
        """
        device = preds.maps[self.map_names[0]].device
        if torch.compiler.is_compiling():
            return self._make_priors(preds, device)
        # a tensor made in inference mode could not take part in training later
        key = (tuple(preds.featmap_sizes), device, torch.is_inference_mode_enabled())
        cache = self.__dict__.setdefault('_priors_cache', {})
        if key not in cache:
            if len(cache) >= 8:
                cache.clear()
            cache[key] = self._make_priors(preds, device)
        return cache[key]

    def _make_priors(self, preds: FlatPredictions, device: torch.device) -> Tensor:
        return torch.cat(self.prior_generator.grid_priors(preds.featmap_sizes, device=device, **self.prior_options))

    def prior_strides(self, preds: FlatPredictions) -> Tensor:
        """The stride (N,) of each prior's level in pixels, along x."""
        cls_score = preds.maps[self.map_names[0]]
        strides = cls_score.new_tensor([stride[0] for stride in self.prior_generator.strides])
        counts = torch.tensor(preds.num_priors, device=strides.device)
        return strides.repeat_interleave(counts, output_size=sum(preds.num_priors))

    def scores(self, preds: FlatPredictions) -> Tensor:
        """Class scores (B, N, C) in [0, 1], background left out."""
        if self.use_sigmoid_cls:
            return preds.cls_score.sigmoid()
        return preds.cls_score.softmax(-1)[..., :-1]

    def score_factors(self, preds: FlatPredictions) -> Tensor | None:
        """What the scores of the chosen candidates are multiplied by, (B, N): their centerness if any; None for 1."""
        return preds.centerness.squeeze(-1).sigmoid() if 'centerness' in self.map_names else None

    @staticmethod
    def levels(preds: FlatPredictions, pos_inds: Tensor) -> list[tuple[slice, Tensor]]:
        """For each level its rows among the N priors and the places of its positives among ``pos_inds`` (P,)."""
        ends = torch.tensor(preds.num_priors, device=pos_inds.device).cumsum(0)
        level = torch.bucketize(pos_inds % sum(preds.num_priors), ends, right=True)
        rows = [slice(end - count, end) for end, count in zip(ends.tolist(), preds.num_priors)]
        return [(level_rows, (level == i).nonzero().squeeze(1)) for i, level_rows in enumerate(rows)]

    # -- training ----------------------------------------------------------------------------------------------------

    def _loss(self, preds: FlatPredictions, batch_data_samples: SampleList) -> dict[str, list[Tensor]]:
        priors = self.priors(preds)
        return self._named_losses(preds, priors, self.targets(preds, priors, batch_data_samples))

    def _named_losses(self, preds: FlatPredictions, priors: Tensor, targets: DenseTargets) -> dict[str, list[Tensor]]:
        terms = self.losses(preds, priors, targets)
        return {f'{self.loss_prefix}{name}': value for name, value in terms.items()}

    def targets(self, preds: FlatPredictions, priors: Tensor, batch_data_samples: SampleList) -> DenseTargets:
        """Assign, sample and collect, the one place where this is done."""
        count = len(priors)
        labels = priors.new_full((len(batch_data_samples), count), self.num_classes, dtype=torch.long)
        weights = priors.new_zeros(labels.shape)
        pos_weight = self.train_cfg.get('pos_weight', -1)
        pos_inds, samplings = [], []
        for i, sample in enumerate(batch_data_samples):
            usable = self.usable_priors(preds, priors, sample)
            result = self.assign(preds, priors, usable, i, sample)
            pos, neg = (usable[inds] if usable is not None else inds for inds in (result.pos_inds, result.neg_inds))
            labels[i, pos] = result.pos_gt_labels
            weights[i, pos] = pos_weight if pos_weight > 0 else 1.0
            weights[i, neg] = 1.0
            pos_inds.append(pos + i * count)
            samplings.append(result)
        flat_pos, pos_boxes = torch.cat(pos_inds), torch.cat([result.pos_gt_bboxes for result in samplings])
        avg_factor = mean_over_ranks(sum(result.avg_factor for result in samplings), priors.device)
        return DenseTargets(labels, weights, flat_pos, pos_boxes, priors[flat_pos % count], avg_factor, samplings)

    def positives(self, preds: FlatPredictions, targets: DenseTargets) -> list[InstanceData]:
        """For each image ``prior_inds`` (p,), their objects ``gt_inds`` (p,) and what ``instance_fields`` adds."""
        results, counts = [], [len(sampling.pos_inds) for sampling in targets.samplings]
        for i, (pos, sampling) in enumerate(zip(targets.pos_inds.split(counts), targets.samplings)):
            inds = pos % sum(preds.num_priors)
            fields = self.instance_fields(preds, i, inds)
            results.append(InstanceData(prior_inds=inds, gt_inds=sampling.pos_assigned_gt_inds, **fields))
        return results

    def instance_fields(self, preds: FlatPredictions, index: int, prior_inds: Tensor) -> dict[str, Tensor]:
        """What a mask branch wants to know of the priors ``prior_inds`` (n,) of image ``index``, by name."""
        return {}

    def usable_priors(self, preds: FlatPredictions, priors: Tensor, sample) -> Tensor | None:
        """Places of the priors that may be assigned in this image; None for all of them.

        Anchors must lie on the image, not on padding, and cross its border by no more than ``allowed_border``.
        """
        border, pad_shape = self.train_cfg.get('allowed_border', -1), sample.metainfo.get('pad_shape', sample.img_shape)
        covered = tuple(pad_shape[:2]) == tuple(sample.metainfo.get('batch_input_shape', pad_shape)[:2])
        if not self.has_anchors or (covered and border < 0):
            return None
        valid = torch.cat(self.prior_generator.valid_flags(preds.featmap_sizes, pad_shape, priors.device))
        return anchor_inside_flags(priors, valid, sample.img_shape, border).nonzero().squeeze(1)

    def assign(
        self, preds: FlatPredictions, priors: Tensor, usable: Tensor | None, index: int, sample
    ) -> SamplingResult:
        """Assign the objects of image ``index`` to its usable priors and sample from them.

        An assigner says what it takes beside priors and objects: ``needs_levels``, the number of priors in each level;
        ``needs_predictions``, what is predicted at each prior.
        """
        assigner, options = self.current_assigner()
        instances, gt_instances = InstanceData(priors=priors), self.gt_instances(sample)
        if getattr(assigner, 'needs_predictions', False):
            with torch.no_grad():
                instances = self.predicted_instances(preds, priors, index)
        if usable is not None:
            instances = instances[usable]
        levels = ()
        if getattr(assigner, 'needs_levels', False):
            levels = (count_by_level(usable, preds.num_priors),)
        ignored = getattr(sample, 'ignored_instances', None)
        assigned = assigner.assign(instances, *levels, gt_instances, ignored, **options)
        return self.sampler.sample(assigned, InstanceData(priors=instances.priors), gt_instances)

    def current_assigner(self) -> tuple:
        """The assigner of this iteration, and what it is given beside samples and predictions."""
        return self.assigner, {}

    def predicted_instances(self, preds: FlatPredictions, priors: Tensor, index: int) -> InstanceData:
        """What is predicted at every prior of image ``index``: ``priors``, ``bboxes`` (N, 4), ``scores`` (N, C)."""
        every = torch.arange(len(priors), device=priors.device)
        boxes = self.decode(preds, priors, index, every, None)
        return InstanceData(priors=priors, bboxes=boxes, scores=self.scores(preds.image(index))[0])

    def gt_instances(self, sample) -> InstanceData:
        """The objects of a sample as this head sees them."""
        return sample.gt_instances

    def losses(self, preds: FlatPredictions, priors: Tensor, targets: DenseTargets) -> dict[str, list[Tensor]]:
        """Loss terms by name, without prefix."""
        raise NotImplementedError

    # -- testing -----------------------------------------------------------------------------------------------------

    def decode(self, preds: FlatPredictions, priors: Tensor, index: int, inds: Tensor, img_shape) -> Tensor:
        """Boxes (n, 4) xyxy in pixels, clipped to ``img_shape``, of the priors ``inds`` (n,) of image ``index``."""
        return self.bbox_coder.decode(self.coded(priors[inds]), preds.bbox_pred[index][inds], max_shape=img_shape)

    def coded(self, priors: Tensor) -> Tensor:
        """What boxes are encoded against: priors, without the strides that points may have."""
        return priors[:, :2] if self.prior_options.get('with_stride') else priors

    def _predict(
        self, preds: FlatPredictions, batch_data_samples: SampleList, cfg: ConfigDict, rescale: bool
    ) -> list[InstanceData]:
        priors, scores, factors = self.priors(preds), self.scores(preds), self.score_factors(preds)
        results = []
        for i, sample in enumerate(batch_data_samples):
            candidates = self.select(scores[i], preds.num_priors, cfg)
            if factors is not None:
                candidates.scores = candidates.scores * factors[i][candidates.prior_inds]
            candidates.bboxes = self.decode(preds, priors, i, candidates.prior_inds, sample.img_shape)
            kept = self.suppress(candidates, cfg, sample.scale_factor if rescale else None)
            results.append(self.finish(kept, preds, i))
        return results

    def select(self, scores: Tensor, num_priors: list[int], cfg: ConfigDict) -> InstanceData:
        """The ``nms_pre`` best (prior, class) pairs of each level above ``score_thr``.

        Args:
            scores: (N, C).
            num_priors: Priors in each level.
            cfg: ``score_thr`` and ``nms_pre``.

        Returns:
            ``scores``, ``labels``, ``prior_inds`` (places among the N priors) and ``level_ids``, each (n,).
        """
        parts, start = [], 0
        for level, level_scores in enumerate(scores.split(num_priors)):
            values, inds, labels = top_scores(level_scores, cfg.get('score_thr', 0), cfg.get('nms_pre', -1))
            parts.append((values, labels, inds + start, torch.full_like(inds, level)))
            start += num_priors[level]
        values, labels, inds, levels = (torch.cat(column) for column in zip(*parts))
        return InstanceData(scores=values, labels=labels, prior_inds=inds, level_ids=levels)

    def suppress(self, candidates: InstanceData, cfg: ConfigDict, scale_factor=None) -> InstanceData:
        """Rescale boxes, drop the small ones, suppress duplicates and keep the ``max_per_img`` best."""
        if scale_factor is not None:
            candidates.bboxes = candidates.bboxes / candidates.bboxes.new_tensor(scale_factor).repeat(2)
        if cfg.get('min_bbox_size', -1) >= 0:
            size = candidates.bboxes[:, 2:] - candidates.bboxes[:, :2]
            candidates = candidates[(size > cfg.min_bbox_size).all(-1)]
        return suppress(candidates, cfg.nms, cfg.get('max_per_img', -1), self.nms_groups(candidates))

    def nms_groups(self, candidates: InstanceData) -> Tensor:
        """Boxes of different groups don't suppress each other: classes, unless a head says otherwise."""
        return candidates.labels

    def finish(self, kept: InstanceData, preds: FlatPredictions, index: int) -> InstanceData:
        """What is put out for image ``index``, from what is left after suppression, with ``prior_inds``."""
        fields = self.instance_fields(preds, index, kept.prior_inds)
        return InstanceData(bboxes=kept.bboxes, scores=kept.scores, labels=kept.labels, **fields)


def count_by_level(usable: Tensor | None, num_priors: list[int]) -> list[int]:
    """How many of the usable priors lie in each level, of which the levels have ``num_priors``."""
    if usable is None:
        return num_priors
    ends = torch.tensor(num_priors, device=usable.device).cumsum(0)
    return torch.bucketize(usable, ends, right=True).bincount(minlength=len(num_priors)).tolist()


def top_scores(scores: Tensor, threshold: float, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """The ``limit`` best entries (all if negative) of ``scores`` (n, C) above ``threshold``.

    Returns:
        Scores, rows and columns, each (k,), by falling score.
    """
    flat = scores.flatten()
    inds = (flat > threshold).nonzero().squeeze(1)
    inds = inds[best_first(flat[inds], limit)]
    num_classes = scores.shape[1]
    return flat[inds], torch.div(inds, num_classes, rounding_mode='floor'), inds % num_classes
