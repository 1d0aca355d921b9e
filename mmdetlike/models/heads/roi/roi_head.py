"""The one pipeline of region heads: proposals -> stages of boxes -> masks.

A head with one stage and a cascade of several differ in how their parts are named and in nothing else; a head that
extracts features in another way overrides ``features``, one that makes masks in another way ``mask_terms`` and
``mask_probabilities``.
"""

import functools
from collections.abc import Sequence

import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils import require_masks
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS, TASK_UTILS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2roi, scale_boxes
from mmdetlike_ops import paste_masks

from .mask_heads import masks_of_class
from .stage import Stage, StageOutputs


class RoIHead(BaseModule):
    """Base of the heads that look at regions, with one stage or ``num_stages``.

    Args:
        bbox_roi_extractor: Pools features of proposals.
        bbox_head: Classifies and regresses them.
        mask_roi_extractor: Pools features for masks; None to use those of the boxes.
        mask_head: Draws masks; None for a detector of boxes.
        shared_head: Runs on region features before the heads.
        train_cfg: ``assigner``, ``sampler``, ``pos_weight`` and, for masks, ``mask_size``.
        test_cfg: ``score_thr``, ``nms``, ``max_per_img`` and, for masks, ``mask_thr_binary``.
        init_cfg: Weight initialisation.
    """

    num_stages = 1

    def __init__(
        self,
        bbox_roi_extractor: dict,
        bbox_head: dict,
        mask_roi_extractor: dict | None = None,
        mask_head: dict | None = None,
        shared_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.stage_cfgs, self.test_cfg = self.cfgs_of_stages(train_cfg), ConfigDict(test_cfg or {})
        self.shared_head = None if shared_head is None else MODELS.build(shared_head)
        self.bbox_roi_extractor = self.build_part('bbox_roi_extractor', bbox_roi_extractor)
        self.bbox_head = self.build_part('bbox_head', bbox_head)
        self.mask_roi_extractor = self.build_part('mask_roi_extractor', mask_roi_extractor)
        self.mask_head = self.build_part('mask_head', mask_head)
        cfgs = [cfg for cfg in self.stage_cfgs if 'assigner' in cfg]
        self.assigners = [TASK_UTILS.build(cfg.assigner) for cfg in cfgs]
        self.samplers = [TASK_UTILS.build(cfg.sampler) for cfg in cfgs]

    def cfgs_of_stages(self, train_cfg: dict | None) -> list[ConfigDict]:
        """``train_cfg.rcnn`` of each stage."""
        return [ConfigDict(train_cfg or {})]

    def build_part(self, name: str, cfg: dict | None) -> nn.Module | None:
        """The part ``name`` of all stages, a ModuleList if there are several; None where there is none."""
        return None if cfg is None else MODELS.build(cfg)

    @property
    def with_mask(self) -> bool:
        """Whether masks are predicted."""
        return self.mask_head is not None

    def part(self, name: str, stage: int) -> nn.Module:
        """The part of a stage, e.g. ``part('bbox_head', 1)``."""
        parts = getattr(self, name)
        return parts[stage] if isinstance(parts, nn.ModuleList) else parts

    def stage(self, i: int, training: bool = False) -> Stage:
        """Stage ``i`` with its settings for training or testing."""
        extract = functools.partial(self.features, 'bbox_roi_extractor', i)
        if not training:
            return Stage(extract, self.part('bbox_head', i), self.test_cfg)
        return Stage(extract, self.part('bbox_head', i), self.stage_cfgs[i], self.assigners[i], self.samplers[i])

    def features(self, extractor: str, stage: int, x: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Region features (n, C, h, w) of ``rois`` (n, 5) by the part ``extractor`` of a stage."""
        feats = self.part(extractor, stage)(x, rois)
        return feats if self.shared_head is None else self.shared_head(feats)

    def forward(
        self, x: Sequence[Tensor], rpn_results_list: Sequence[InstanceData], batch_data_samples: SampleList = ()
    ) -> tuple:
        """Raw outputs for all proposals: each stage's class logits and deltas, and mask logits if there are any."""
        proposals, outputs = rpn_results_list, []
        for i in range(self.num_stages):
            stage = self.stage(i)
            outs = stage.run(x, bbox2roi([image.bboxes for image in proposals]))
            outputs += [outs.cls_score, outs.bbox_pred]
            if i + 1 < self.num_stages:
                proposals = stage.refine(outs, [len(image) for image in proposals], batch_data_samples)
        if self.with_mask:
            outputs += self.mask_logits_of_stages(x, outs.rois, range(self.num_stages))
        return tuple(outputs)

    # -- training ----------------------------------------------------------------------------------------------------

    def loss(
        self, x: Sequence[Tensor], rpn_results_list: Sequence[InstanceData], batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Loss terms of all stages.

        Args:
            x: Maps (B, C, H_i, W_i).
            rpn_results_list: Proposals of each image, ``bboxes`` (n, 4) xyxy in pixels.
            batch_data_samples: Samples with ``gt_instances``.
        """
        proposals, losses = rpn_results_list, {}
        for i in range(self.num_stages):
            stage = self.stage(i, training=True)
            sampled = stage.sample(x, proposals, batch_data_samples)
            outs = stage.run_sampled(x, sampled)
            terms = stage.loss(outs, sampled)
            if self.with_mask:
                terms.update(self.stage_mask_loss(i, x, stage, sampled, outs, batch_data_samples))
            losses.update(self.named_terms(i, terms))
            if i + 1 < self.num_stages:
                proposals = stage.refine_sampled(outs, sampled, batch_data_samples)
        return losses

    def named_terms(self, stage: int, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms of a stage as they appear in the log."""
        return terms

    def stage_mask_loss(
        self,
        i: int,
        x: Sequence[Tensor],
        stage: Stage,
        sampled: Sequence[SamplingResult],
        outs: StageOutputs,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """Mask loss of stage ``i``, on the positives of its boxes."""
        feats = self.positive_features(outs, sampled) if self.mask_roi_extractor is None else None
        return self.mask_loss(i, x, sampled, samples, feats)

    @property
    def mask_extractor(self) -> str:
        """The name of the part that extracts features for masks."""
        return 'bbox_roi_extractor' if self.mask_roi_extractor is None else 'mask_roi_extractor'

    @staticmethod
    def positive_features(outs: StageOutputs, sampled: Sequence[SamplingResult]) -> Tensor:
        """The features of the positives among the sampled regions."""
        flags = [flag for s in sampled for flag in (torch.ones_like(s.pos_inds), torch.zeros_like(s.neg_inds))]
        return outs.feats[torch.cat(flags).bool()]

    def mask_loss(
        self,
        i: int,
        x: Sequence[Tensor],
        sampled: Sequence[SamplingResult],
        samples: SampleList,
        feats: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Mask loss of the positives, whose features are given or extracted."""
        if feats is None:
            feats = self.features(self.mask_extractor, i, x, bbox2roi([result.pos_priors for result in sampled]))
        return self.mask_terms(i, x, self.mask_logits(feats, [i])[0], sampled, samples)

    def mask_terms(
        self, i: int, x: Sequence[Tensor], logits: Tensor, sampled: Sequence[SamplingResult], samples: SampleList
    ) -> dict[str, Tensor]:
        """Loss terms of the mask logits (p, C, h, w) of the positives."""
        labels = torch.cat([result.pos_gt_labels for result in sampled])
        targets = mask_targets(sampled, samples, self.stage_cfgs[i].mask_size)
        return dict(loss_mask=self.part('mask_head', i).loss(logits, targets, labels))

    # -- testing -----------------------------------------------------------------------------------------------------

    def predict(
        self,
        x: Sequence[Tensor],
        rpn_results_list: Sequence[InstanceData],
        batch_data_samples: SampleList,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Objects of each image.

        Returns:
            ``bboxes`` (n, 4) xyxy, ``scores`` (n,) falling, ``labels`` (n,) and, of heads with masks, ``masks``
            (n, h, w) bool, in pixels of the original image if ``rescale``.
        """
        results = self.predict_boxes(x, rpn_results_list, batch_data_samples, rescale and not self.with_mask)
        if self.with_mask:
            self.add_masks(x, results, batch_data_samples, rescale)
        return results

    def predict_boxes(
        self, x: Sequence[Tensor], proposals: Sequence[InstanceData], samples: SampleList, rescale: bool
    ) -> list[InstanceData]:
        """Boxes of each image: the last stage's, scored by the mean logits of all stages."""
        counts, cls_score = [len(image) for image in proposals], 0
        for i in range(self.num_stages):
            stage = self.stage(i)
            outs = stage.run(x, bbox2roi([image.bboxes for image in proposals]))
            cls_score = cls_score + outs.cls_score
            if i + 1 < self.num_stages:
                proposals = stage.refine(outs, counts, samples)
        bbox_preds = [None] * len(counts) if outs.bbox_pred is None else outs.bbox_pred.split(counts)
        columns = zip(outs.rois.split(counts), (cls_score / self.num_stages).split(counts), bbox_preds, samples)
        head = self.part('bbox_head', self.num_stages - 1)
        return [head.predict(*rows, sample.metainfo, self.test_cfg, rescale) for *rows, sample in columns]

    def add_masks(self, x: Sequence[Tensor], results: list[InstanceData], samples: SampleList, rescale: bool) -> None:
        """Put ``masks`` into results, whose boxes are in pixels of the network's input, and rescale the boxes."""
        probabilities = self.mask_probabilities(x, results).split([len(result) for result in results])
        for result, masks, sample in zip(results, probabilities, samples):
            if rescale:
                result.bboxes = scale_boxes(result.bboxes, [1 / factor for factor in sample.scale_factor])
            size = sample.ori_shape if rescale else sample.img_shape
            result.masks = paste_masks(masks, result.bboxes, *size[:2], threshold=self.test_cfg.mask_thr_binary)

    def mask_probabilities(self, x: Sequence[Tensor], results: Sequence[InstanceData]) -> Tensor:
        """Masks (n, h, w) in [0, 1] of the boxes of all images, each of its own class, averaged over stages."""
        rois = bbox2roi([result.bboxes for result in results])
        labels = torch.cat([result.labels for result in results])
        masks = []
        for i, logits in zip(self.stages_of_masks, self.mask_logits_of_stages(x, rois, self.stages_of_masks)):
            own = masks_of_class(logits, labels, self.part('mask_head', i).class_agnostic)
            masks.append(float32_if_half(own)[0].sigmoid())
        return sum(masks) / len(masks)

    @property
    def stages_of_masks(self) -> Sequence[int]:
        """The stages whose masks are averaged in testing."""
        return range(self.num_stages)

    def mask_logits_of_stages(self, x: Sequence[Tensor], rois: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Mask logits (n, C, h, w) of the given stages in testing, each from the features of its own extractor."""
        return [self.mask_logits(self.features(self.mask_extractor, i, x, rois), [i])[0] for i in stages]

    def mask_logits(self, feats: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Mask logits (n, C, h, w) of the given stages from one set of region features."""
        return [self.part('mask_head', i)(feats) for i in stages]


def mask_targets(sampled: Sequence[SamplingResult], samples: SampleList, size: int | tuple[int, int]) -> Tensor:
    """The masks (p, h, w) of 0 and 1 that the positives' regions should show.

    Raises:
        ValueError: A sample has objects without masks.
    """
    require_masks(samples, 'a mask head')
    size = (size, size) if isinstance(size, int) else tuple(size)
    targets = []
    for result, sample in zip(sampled, samples):
        boxes, inds = result.pos_priors, result.pos_assigned_gt_inds
        if len(boxes):
            cut = sample.gt_instances.masks.crop_and_resize(boxes, size, inds, device=boxes.device).to_ndarray()
            targets.append(torch.as_tensor(cut, dtype=torch.float32, device=boxes.device))
        else:
            targets.append(boxes.new_zeros(0, *size))
    return torch.cat(targets)
