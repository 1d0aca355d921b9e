"""One stage of a region-based detector: proposals -> assign -> sample -> extract -> head -> losses or predictions."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.task_modules import OHEMSampler, SamplingResult
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2roi


@dataclass
class StageOutputs:
    """What a stage says of n regions.

    Attributes:
        rois: (n, 5) image index and xyxy in pixels.
        feats: (n, C, h, w) their features.
        cls_score: (n, num_classes + 1) logits, or None.
        bbox_pred: (n, 4 * num_classes or 4) deltas, or None.
    """

    rois: Tensor
    feats: Tensor
    cls_score: Tensor | None
    bbox_pred: Tensor | None


@dataclass
class Stage:
    """What a two-stage detector does once and a cascade several times.

    Attributes:
        extract: Maps and regions (n, 5) -> region features (n, C, h, w).
        head: Classifies and regresses them.
        cfg: ``train_cfg.rcnn`` or ``test_cfg.rcnn`` of this stage.
        assigner: Assigns objects to proposals; None when testing.
        sampler: Samples from the assigned ones; None when testing.
    """

    extract: Callable[[Sequence[Tensor], Tensor], Tensor]
    head: nn.Module
    cfg: ConfigDict
    assigner: object = None
    sampler: object = None

    def sample(
        self, x: Sequence[Tensor], proposals: Sequence[InstanceData], samples: SampleList
    ) -> list[SamplingResult]:
        """Assign each image's objects to its proposals (``bboxes``) and sample from them."""
        results = []
        for i, (image_proposals, sample) in enumerate(zip(proposals, samples)):
            priors = InstanceData(priors=image_proposals.bboxes)
            assigned = self.assigner.assign(priors, sample.gt_instances, sample.get('ignored_instances'))
            mining = {}
            if isinstance(self.sampler, OHEMSampler):
                mining['loss_of'] = functools.partial(self.classification_losses, x, i)
            results.append(self.sampler.sample(assigned, priors, sample.gt_instances, **mining))
        return results

    @torch.no_grad()
    def classification_losses(self, x: Sequence[Tensor], image: int, boxes: Tensor, labels: Tensor) -> Tensor:
        """The classification loss (n,) of boxes (n, 4) of an image, whose classes (n,) are -1 for background."""
        rois = torch.cat([boxes.new_full((len(boxes), 1), image), boxes], dim=1)
        cls_score = float32_if_half(self.run(x, rois).cls_score)[0]
        labels = torch.where(labels < 0, self.head.num_classes, labels)
        return self.head.loss_cls(cls_score, labels, reduction_override='none')

    def run(self, x: Sequence[Tensor], rois: Tensor) -> StageOutputs:
        """Classify and regress ``rois`` (n, 5) on maps ``x``."""
        feats = self.extract(x, rois)
        return StageOutputs(rois, feats, *self.head(feats))

    def run_sampled(self, x: Sequence[Tensor], sampled: Sequence[SamplingResult]) -> StageOutputs:
        """Classify and regress the sampled regions, image by image, the positives of each before its negatives."""
        return self.run(x, bbox2roi([result.sampled_priors for result in sampled]))

    def loss(self, outs: StageOutputs, sampled: Sequence[SamplingResult]) -> dict[str, Tensor]:
        """Loss terms of the sampled regions."""
        return self.head.loss(outs.cls_score, outs.bbox_pred, sampled, self.cfg)

    @torch.no_grad()
    def refine_sampled(
        self, outs: StageOutputs, sampled: Sequence[SamplingResult], samples: SampleList
    ) -> list[InstanceData]:
        """The next stage's proposals: sampled regions moved by their deltas, without those that are objects."""
        labels, _, _ = self.head.classification_targets(sampled, -1)
        background = labels == self.head.num_classes
        labels = torch.where(background, self._best_class(outs.cls_score), labels)
        counts = [len(result.pos_inds) + len(result.neg_inds) for result in sampled]
        boxes = self._refine(outs, labels, counts, samples)
        proposals = []
        for image_boxes, result in zip(boxes, sampled):
            keep = torch.ones(len(image_boxes), dtype=torch.bool, device=image_boxes.device)
            keep[: len(result.pos_inds)] = ~result.pos_is_gt
            proposals.append(InstanceData(bboxes=image_boxes[keep]))
        return proposals

    def refine(self, outs: StageOutputs, counts: list[int], samples: SampleList) -> list[InstanceData]:
        """The next stage's proposals in testing: all regions, ``counts`` of each image, moved by their best class."""
        boxes = self._refine(outs, self._best_class(outs.cls_score), counts, samples)
        return [InstanceData(bboxes=image_boxes) for image_boxes in boxes]

    def _refine(self, outs: StageOutputs, labels: Tensor, counts: list[int], samples: SampleList) -> list[Tensor]:
        columns = (column.split(counts) for column in (outs.rois, outs.bbox_pred, labels))
        return [self.head.refine(*rows, sample.img_shape) for *rows, sample in zip(*columns, samples)]

    def _best_class(self, cls_score: Tensor) -> Tensor:
        """(n,) the likeliest class of logits (n, num_classes + 1 or more), what stands for background left out."""
        return cls_score[:, : self.head.num_classes].argmax(1)
