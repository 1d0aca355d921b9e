"""The pipeline of dense heads: feature maps -> flat predictions -> targets and losses, or boxes.

A head supplies its layers (``build_layers``, ``forward_level``), its loss terms (``target_losses``) and, where there is
more to it than its coder, ``decode``. How objects are assigned to priors is a matter of ``train_cfg.assigner``; a head
that assigns in another way, several times or not at all overrides ``compute_losses``. docs/pipelines.md lists every
hook. Shapes: B images, N priors over all levels, C classes, P positives in the whole batch.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.layers import run_tower
from mmdetlike.models.task_modules import Priors, SamplingResult, anchor_inside_flags
from mmdetlike.models.task_modules.assigners import BaseAssigner
from mmdetlike.models.task_modules.samplers import Sampler
from mmdetlike.models.utils import float32_if_half, suppress_boxes
from mmdetlike.registry import MODELS, TASK_UTILS
from mmdetlike.structures import DetDataSample, SampleList
from mmdetlike.structures.bbox import geometry
from mmdetlike.utils.dist import mean_over_ranks

from ..common import as_one_class
from ..head import Head
from .predictions import Candidates, DenseTargets, FlatPredictions, LevelTerm, LossTerms, among_all, best_of_levels


class DenseHead(Head):
    """Base of the heads that predict classes and boxes at every cell of a feature pyramid.

    Args:
        num_classes: Classes without background.
        in_channels: Channels of the pyramid's feature maps.
        feat_channels: Channels of hidden layers.
        prior_generator: Makes anchors or points.
        bbox_coder: Encodes boxes against anchors or points.
        loss_cls: Classification loss; sigmoid or softmax as its ``use_sigmoid`` says, which FocalLoss has by default.
        loss_bbox: Regression loss, if the head has one.
        train_cfg: ``assigner``, ``sampler``, ``allowed_border``, ``pos_weight``.
        test_cfg: ``nms_pre``, ``score_thr``, ``min_bbox_size``, ``nms``, ``max_per_img``.
        init_cfg: As of ``Head``.

    Attributes:
        map_names: A name for each list of maps that ``forward`` returns.
        loss_prefix: What names of loss terms begin with.
        assigns_padding: Whether priors may be assigned that lie on the padding of a batch, beyond their own image.
    """

    map_names: tuple[str, ...] = ('cls_score', 'bbox_pred')
    loss_prefix = 'loss_'
    assigns_padding = False
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
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(num_classes, train_cfg, test_cfg, init_cfg)
        self.in_channels, self.feat_channels = in_channels, feat_channels
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox) if loss_bbox else None
        # a loss of the user's need not have the attribute: it is then one of softmax, as in the toolbox
        self.use_sigmoid_cls = getattr(self.loss_cls, 'use_sigmoid', False)
        # a softmax has the background as its last class
        self.cls_out_channels = num_classes if self.use_sigmoid_cls else num_classes + 1
        self.prior_generator = TASK_UTILS.build(prior_generator)
        # layers that all levels share predict for as many priors at a cell of each: so the first level tells it
        self.num_base_priors = self.prior_generator.num_base_priors[0]
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.sampler = TASK_UTILS.build(self.train_cfg.get('sampler') or dict(type='PseudoSampler'))
        self._priors_cache: dict[tuple, Priors] = {}
        self.build_layers()

    def build_layers(self) -> None:
        """Make the layers, as attributes under the names that checkpoints have.

        The constructor of ``DenseHead`` calls it last: what it needs of a subclass's arguments, the subclass sets
        before it calls the constructor of its parent.
        """
        raise NotImplementedError

    def build_predictor(self, channels: int, kernel_size: int = 3) -> nn.Conv2d:
        """The convolution after a tower of ``stacked_convs`` that predicts ``channels`` numbers for each prior."""
        width = self.feat_channels if self.stacked_convs else self.in_channels
        return nn.Conv2d(width, self.num_base_priors * channels, kernel_size, padding=kernel_size // 2)

    # -- what detectors call -------------------------------------------------------------------------------------------

    def loss(self, x: Sequence[Tensor], batch_data_samples: SampleList) -> LossTerms:
        """Loss terms, most of them one value a level, of feature maps ``x`` (B, C, H_i, W_i) against the objects."""
        return self.named_losses(self.compute_losses(self.flatten(self(x)), batch_data_samples))

    def loss_with_positives(
        self, x: Sequence[Tensor], batch_data_samples: SampleList
    ) -> tuple[LossTerms, list[InstanceData]]:
        """The loss terms, and what a mask branch trains on: the ``positives`` of each image."""
        preds = self.flatten(self(x))
        targets = self.targets(preds, batch_data_samples)
        losses = self.named_losses(self.target_losses(preds, targets, batch_data_samples))
        return losses, self.positives(preds, targets)

    def predict(self, x: Sequence[Tensor], batch_data_samples: SampleList, rescale: bool = False) -> list[InstanceData]:
        """Boxes of each image: ``bboxes`` (n, 4) xyxy or rotated ones (n, 5), ``scores`` (n,) falling, ``labels`` (n,).

        They are in pixels of the input or, to ``rescale`` by each sample's ``scale_factor``, of the original image.
        """
        return self.predict_flat(self.flatten(self(x)), batch_data_samples, self.test_cfg, rescale)

    def loss_and_predict(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, proposal_cfg: ConfigDict | None = None
    ) -> tuple[LossTerms, list[InstanceData]]:
        """Loss terms, and boxes without gradient, of a first stage in training: from a single forward pass."""
        preds = self.flatten(self(x))
        losses = self.named_losses(self.compute_losses(preds, batch_data_samples))
        return losses, self.predict_flat(preds.detach(), batch_data_samples, proposal_cfg or self.test_cfg, False)

    def named_losses(self, terms: LossTerms) -> LossTerms:
        """Loss terms under the names by which they are logged."""
        return {f'{self.loss_prefix}{name}': value for name, value in terms.items()}

    # -- predictions -------------------------------------------------------------------------------------------------

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Feature maps (B, C, H_i, W_i) -> one list of maps for each of ``map_names``."""
        by_level = [self.forward_level(i, level) for i, level in enumerate(x)]
        return tuple(list(maps) for maps in zip(*by_level))

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level, one for each of ``map_names``: by default ``predict_maps`` after two towers."""
        return self.predict_maps(level, run_tower(self.cls_convs, x), run_tower(self.reg_convs, x))

    def predict_maps(self, level: int, cls_feat: Tensor, reg_feat: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level, of the features (B, C, H, W) after the towers ``cls_convs`` and ``reg_convs``."""
        raise NotImplementedError

    def flatten(self, outs: Sequence[Sequence[Tensor]], priors: Priors | None = None) -> FlatPredictions:
        """Lists of maps (B, A_i * c, H_i, W_i), one list a name -> tensors (B, N, c), cell by cell.

        ``outs`` are from ``forward``; they predict at ``priors``, or at those of the prior generator.
        """
        sizes = [tuple(level.shape[-2:]) for level in outs[0]]
        num_priors = [h * w * a for (h, w), a in zip(sizes, self.prior_generator.num_base_priors)]
        maps = {}
        for name, levels in zip(self.map_names, outs, strict=True):
            # channels last: the priors of a cell follow one another, as the prior generator orders them
            flat = [m.permute(0, 2, 3, 1).reshape(m.shape[0], n, -1) for m, n in zip(levels, num_priors)]
            # losses and boxes need the range of float32 under autocast
            maps[name] = float32_if_half(torch.cat(flat, dim=1))[0]
        if priors is None:
            priors = self.priors(sizes, outs[0][0].device)
        return FlatPredictions(maps, priors, sizes, num_priors)

    def priors(self, featmap_sizes: list[tuple[int, int]], device: torch.device) -> Priors:
        """The priors at feature maps of these sizes, kept for the sizes seen last."""
        if torch.compiler.is_compiling():  # a graph has them as constants
            return self.prior_generator.priors(featmap_sizes, device)
        # a tensor made in inference mode could not take part in training later
        key = (tuple(featmap_sizes), device, torch.is_inference_mode_enabled())
        if key not in self._priors_cache:
            # a dataset may have as many sizes as images, which must not fill the memory
            if len(self._priors_cache) >= 8:
                self._priors_cache.clear()
            self._priors_cache[key] = self.prior_generator.priors(featmap_sizes, device)
        return self._priors_cache[key]

    def references(self, priors: Priors) -> Tensor:
        """The priors as ``bbox_coder`` takes them: points (n, 2) or boxes (n, 4)."""
        return priors.points if self.bbox_coder.uses_points else priors.boxes

    def scores(self, preds: FlatPredictions) -> Tensor:
        """Class scores (B, N, C) in [0, 1], background left out."""
        return preds.cls_score.sigmoid() if self.use_sigmoid_cls else preds.cls_score.softmax(-1)[..., :-1]

    def score_factors(self, preds: FlatPredictions) -> Tensor | None:
        """Factors (B, N) of the scores of selected candidates: centerness, if it is predicted; None for 1."""
        return preds.centerness.squeeze(-1).sigmoid() if 'centerness' in self.map_names else None

    # -- training ----------------------------------------------------------------------------------------------------

    def compute_losses(self, preds: FlatPredictions, samples: SampleList) -> LossTerms:
        """Assign and compare: from predictions and samples to loss terms by name, without prefix.

        Override it to assign several times, with something that only the samples have, or not at all.
        """
        return self.target_losses(preds, self.targets(preds, samples), samples)

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> LossTerms:
        """Loss terms by name, without prefix, of predictions against their targets."""
        raise NotImplementedError

    def targets(
        self,
        preds: FlatPredictions,
        samples: SampleList,
        *,
        assigner: BaseAssigner | None = None,
        priors: Priors | None = None,
        sampler: Sampler | None = None,
    ) -> DenseTargets:
        """Assign the objects of a batch to priors, sample from these, and collect what the priors should predict.

        Some assigners look at predictions. Others than those of ``train_cfg`` may be given as ``assigner`` and
        ``sampler``, and as ``priors`` others than those of the predictions, e.g. boxes that the head has predicted.
        """
        assigner = assigner or self.assigner
        sampler = sampler or self.sampler
        priors = priors or preds.priors
        count = len(priors)
        labels = torch.full((len(samples), count), self.num_classes, device=priors.points.device)
        weights = priors.points.new_zeros(labels.shape)
        pos_weight = self.train_cfg.get('pos_weight', -1)
        pos_inds = []
        samplings = []
        for i, sample in enumerate(samples):
            of_image = priors.of_image(i)
            usable = self.usable_priors(preds, of_image, sample)
            candidates = self.candidates(preds.of_image(i), of_image, sample, assigner)
            result = self.assign(candidates if usable is None else candidates[usable], sample, assigner, sampler)
            pos = among_all(usable, result.pos_inds)
            neg = among_all(usable, result.neg_inds)
            labels[i, pos] = result.pos_gt_labels
            # what is neither, because it is ignored or was not sampled, keeps the weight 0
            weights[i, pos] = pos_weight if pos_weight > 0 else 1.0
            weights[i, neg] = 1.0
            pos_inds.append(pos + i * count)
            samplings.append(result)
        flat_pos = torch.cat(pos_inds)
        return DenseTargets(
            labels=labels,
            label_weights=weights,
            pos_inds=flat_pos,
            pos_gt_bboxes=torch.cat([result.pos_gt_bboxes for result in samplings]),
            pos_priors=priors.of_batch(flat_pos),
            avg_factor=mean_over_ranks(sum(result.avg_factor for result in samplings), labels.device),
            samplings=samplings,
        )

    def usable_priors(self, preds: FlatPredictions, priors: Priors, sample: DetDataSample) -> Tensor | None:
        """Indices of the priors that may be assigned in this image; None for all of them.

        They must lie on the image, not on padding, unless the head ``assigns_padding``, and cross the border of the
        image by no more than ``train_cfg.allowed_border``.
        """
        border = self.train_cfg.get('allowed_border', -1)
        pad_shape = sample.metainfo.get('pad_shape', sample.img_shape)
        # nothing to look for where this image fills the whole batch
        is_covered = tuple(pad_shape[:2]) == tuple(sample.metainfo.get('batch_input_shape', pad_shape)[:2])
        if self.assigns_padding or (is_covered and border < 0):
            return None
        valid = torch.cat(self.prior_generator.valid_flags(preds.featmap_sizes, pad_shape, priors.points.device))
        # a point is a box without area
        boxes = priors.points.repeat(1, 2) if priors.boxes is None else priors.boxes
        return anchor_inside_flags(boxes, valid, sample.img_shape, border).nonzero().squeeze(1)

    def candidates(
        self, preds: FlatPredictions, priors: Priors, sample: DetDataSample, assigner: BaseAssigner
    ) -> InstanceData:
        """The rows that an assigner is given, one for each of the N priors of an image (see ``BaseAssigner``).

        ``preds`` and ``priors`` are those of this image alone; the assigner says whether it needs predictions.
        """
        rows = InstanceData(
            priors=priors.regions, points=priors.points, strides=priors.strides, level_ids=priors.level_ids
        )
        if assigner.needs_predictions:
            with torch.no_grad():  # assignment chooses targets; nothing is learned through it
                rows.bboxes, rows.scores = self.assignable_predictions(preds)
        return rows

    def assignable_predictions(self, preds: FlatPredictions) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4) xyxy in pixels and scores (N, C) of one image, for an assigner that looks at predictions."""
        every = torch.arange(len(preds.priors), device=preds.priors.points.device)
        return self.decode(preds, 0, every, None), self.scores(preds)[0]

    def assign(
        self, candidates: InstanceData, sample: DetDataSample, assigner: BaseAssigner, sampler: Sampler
    ) -> SamplingResult:
        """Assign the objects of an image to ``candidates`` and sample from these."""
        gt_instances = self.gt_instances(sample)
        assigned = assigner.assign(candidates, gt_instances, sample.get('ignored_instances'))
        return sampler.sample(assigned, candidates, gt_instances)

    def gt_instances(self, sample: DetDataSample) -> InstanceData:
        """The objects of a sample that this head learns; ``ConfigError`` if the coder makes boxes of another kind.

        A head that proposes, so that its class isn't the dataset's, learns all of them as one class.
        """
        part = f'{type(self).__name__} with {type(self.bbox_coder).__name__}'
        objects = sample.gt_instances
        geometry.require_kind(objects.bboxes, self.bbox_coder.box_dim, part)
        return objects if self.predicts_dataset_classes else as_one_class(objects)

    def losses_by_level(self, preds: FlatPredictions, targets: DenseTargets, **terms: LevelTerm) -> LossTerms:
        """Each of the ``terms`` as a list of one value a level, whose sum is trained on."""
        levels = preds.levels(targets.pos_inds)
        return {name: [term(*level) for level in levels] for name, term in terms.items()}

    def class_loss(
        self,
        preds: FlatPredictions,
        targets: DenseTargets,
        rows: slice,
        quality: Tensor | None = None,
        avg_factor: float | None = None,
        loss_cls: nn.Module | None = None,
    ) -> Tensor:
        """Classification loss of the priors ``rows`` of all images, by ``loss_cls`` or that of the head.

        ``quality`` (B, N) is that to which scores are trained, for losses that take it beside the label. The sum is
        divided by ``avg_factor``, which is that of the targets where None.
        """
        labels = targets.labels[:, rows].flatten()
        return (loss_cls or self.loss_cls)(
            preds.cls_score[:, rows].flatten(0, 1),
            labels if quality is None else (labels, quality[:, rows].flatten()),
            targets.label_weights[:, rows].flatten(),
            avg_factor=targets.avg_factor if avg_factor is None else avg_factor,
        )

    def class_term(
        self, preds: FlatPredictions, targets: DenseTargets, quality: Tensor | None = None, **options
    ) -> LevelTerm:
        """The ``class_loss`` of a level, whose arguments these are, for ``losses_by_level``."""
        return lambda rows, pos: self.class_loss(preds, targets, rows, quality, **options)

    def positives(self, preds: FlatPredictions, targets: DenseTargets) -> list[InstanceData]:
        """For each image ``prior_inds`` (p,), their objects ``gt_inds`` (p,) and what ``instance_fields`` adds."""
        results = []
        counts = [len(sampling.pos_inds) for sampling in targets.samplings]
        for i, (pos, sampling) in enumerate(zip(targets.pos_inds.split(counts), targets.samplings)):
            inds = pos % len(preds.priors)
            fields = self.instance_fields(preds, i, inds)
            results.append(InstanceData(prior_inds=inds, gt_inds=sampling.pos_assigned_gt_inds, **fields))
        return results

    def instance_fields(self, preds: FlatPredictions, index: int, prior_inds: Tensor) -> dict[str, Tensor]:
        """Fields by name that a mask branch needs of the priors ``prior_inds`` (n,) of image ``index``; none here."""
        return {}

    # -- testing -----------------------------------------------------------------------------------------------------

    def predict_flat(
        self, preds: FlatPredictions, samples: SampleList, cfg: ConfigDict, rescale: bool
    ) -> list[InstanceData]:
        """Boxes of each image from flat predictions; ``cfg`` has the settings of ``test_cfg``.

        With ``return_all_scores`` each box has ``all_scores`` (C,), those of all classes before suppression.
        """
        results = []
        for i, sample in enumerate(samples):
            of_image = preds.of_image(i)
            kept = self.detect(of_image, sample.img_shape, cfg, sample.scale_factor if rescale else None)
            result = self.to_result(kept, of_image)
            if cfg.get('return_all_scores', False):
                # as boxes are ranked by them: times their factors
                scores = self.scores(of_image)[0, kept.prior_inds]
                factors = self.score_factors(of_image)
                result.all_scores = scores if factors is None else scores * factors[0, kept.prior_inds, None]
            results.append(result)
        return results

    def detect_maps(self, x: Sequence[Tensor], img_shapes: Sequence[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """Boxes of each image, of ``img_shapes``, from feature maps; of tensors alone, in pixels of the input.

        They are ``boxes`` (n, 4) xyxy or rotated ones (n, 5), ``scores`` (n,) falling and ``labels`` (n,).
        """
        return self.detect_flat(self.flatten(self(x)), img_shapes, self.test_cfg)

    def detect_flat(
        self, preds: FlatPredictions, img_shapes: Sequence[tuple[int, int]], cfg: ConfigDict
    ) -> list[dict[str, Tensor]]:
        """What ``detect_maps`` returns, from flat predictions; ``cfg`` has the settings of ``test_cfg``."""
        found = [self.detect(preds.of_image(i), img_shape, cfg) for i, img_shape in enumerate(img_shapes)]
        return [dict(boxes=kept.boxes, scores=kept.scores, labels=kept.labels) for kept in found]

    def detect(self, preds: FlatPredictions, img_shape, cfg: ConfigDict, scale_factor=None) -> Candidates:
        """Select, decode and suppress: from predictions for one image to its boxes, of tensors alone.

        Args:
            preds: Predictions for one image, a batch of one.
            img_shape: Height and width to which boxes are clipped, in pixels.
            cfg: As ``test_cfg``. With ``clip_kept`` boxes are cut to the image once more after they were suppressed,
                for coders that don't. ``ties`` is that of ``suppress_boxes``.
            scale_factor: Width and height of the image over those of the original, in whose pixels boxes then are.
        """
        candidates = self.find_candidates(preds, cfg)
        factors = self.score_factors(preds)
        if factors is not None:
            # after the selection, whose threshold is about classes alone, as in the papers that have such factors
            candidates.scores = candidates.scores * factors[0][candidates.prior_inds]
        candidates.boxes = self.decode(preds, 0, candidates.prior_inds, img_shape)
        if scale_factor is not None:
            candidates.boxes = geometry.scale(candidates.boxes, [1 / factor for factor in scale_factor])
        if cfg.get('min_bbox_size', -1) >= 0:
            candidates = candidates[geometry.is_larger(candidates.boxes, cfg.min_bbox_size)]
        kept = self.suppress(candidates, preds, cfg)
        return kept.clipped(img_shape, scale_factor) if cfg.get('clip_kept', False) else kept

    def find_candidates(self, preds: FlatPredictions, cfg: ConfigDict) -> Candidates:
        """What ``select`` finds among the ``scores`` of one image, whose predictions are a batch of one."""
        # a head with scores or a selection of its own, also one of a user's, is asked for all of them
        overridden = type(self).scores is not DenseHead.scores or type(self).select is not DenseHead.select
        if overridden or not self.use_sigmoid_cls:
            return self.select(self.scores(preds)[0], preds.num_priors, cfg)
        # the sigmoid never falls, so that logits tell which scores are the best: it is taken of few
        return best_of_levels(preds.cls_score[0], preds.num_priors, cfg, torch.sigmoid)

    def select(self, scores: Tensor, num_priors: list[int], cfg: ConfigDict) -> Candidates:
        """Of ``scores`` (N, C) the ``nms_pre`` best (prior, class) pairs of each level above ``score_thr``."""
        return best_of_levels(scores, num_priors, cfg)

    def decode(self, preds: FlatPredictions, index: int, inds: Tensor, img_shape: tuple[int, int] | None) -> Tensor:
        """Boxes (n, 4) xyxy in pixels of the priors ``inds`` (n,) of image ``index``, clipped to ``img_shape``."""
        references = self.references(preds.priors.of_image(index)[inds])
        return self.bbox_coder.decode(references, preds.bbox_pred[index][inds], max_shape=img_shape)

    def suppress(self, candidates: Candidates, preds: FlatPredictions, cfg: ConfigDict) -> Candidates:
        """Suppress duplicates and keep the ``max_per_img`` best."""
        groups = self.nms_groups(candidates, preds)
        limit = cfg.get('max_per_img', -1)
        ties = cfg.get('ties', 'sorted')
        boxes, scores, kept = suppress_boxes(candidates.boxes, candidates.scores, groups, cfg.nms, limit, ties)
        return replace(candidates[kept], boxes=boxes, scores=scores)

    def nms_groups(self, candidates: Candidates, preds: FlatPredictions) -> Tensor:
        """Boxes of different groups don't suppress each other: classes, unless a head says otherwise."""
        return candidates.labels

    def to_result(self, kept: Candidates, preds: FlatPredictions) -> InstanceData:
        """The result for an image, from what is left after suppression and predictions for this image."""
        fields = self.instance_fields(preds, 0, kept.prior_inds)
        return InstanceData(bboxes=kept.boxes, scores=kept.scores, labels=kept.labels, **fields)
