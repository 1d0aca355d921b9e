"""One stage of a region head: proposals -> assign -> sample -> extract -> head -> losses or the next proposals."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.structures import DetDataSample, SampleList
from mmdetlike.structures.bbox import bbox2roi, geometry, get_box_tensor


@dataclass
class StageOutputs:
    """Outputs of one stage for n regions of a batch, image by image.

    Attributes:
        rois: (n, 5) image index and xyxy in pixels.
        counts: How many of the regions belong to each image.
        feats: The region features that the head was given, one tensor (n, C, h, w) for each of its arguments.
        preds: What the head returned; the head alone knows what is in it.
    """

    rois: Tensor
    counts: list[int]
    feats: tuple[Tensor, ...]
    preds: Any

    def rois_of_images(self) -> tuple[Tensor, ...]:
        """The regions (n_i, 5) of each image."""
        return self.rois.split(self.counts)


@dataclass
class StageResult:
    """What one stage yields in training.

    Attributes:
        terms: Loss terms by name, without the prefix of the stage.
        outs: Outputs for the sampled regions.
        sampled: The regions sampled from each image; those of ``outs`` are in the same order.
    """

    terms: dict[str, Tensor]
    outs: StageOutputs
    sampled: list[SamplingResult]


@dataclass
class Stage:
    """One pass over the proposals: a two-stage detector makes one, a cascade several.

    State goes from stage to stage with the proposals: they are ``InstanceData`` with ``bboxes`` (n, 4) xyxy in pixels
    and, in a stage that needs them, further columns. Another order of steps is a subclass, named by
    ``RoIHead.stage_class``.

    Attributes:
        extract: Feature maps and regions (n, 5) -> the arguments of ``head``, a tuple of region features.
        head: Classifies and regresses regions; see ``BBoxHead`` for what a stage asks of it.
        cfg: ``train_cfg.rcnn`` or ``test_cfg.rcnn`` of this stage.
        assigner: Assigns objects to proposals; None when testing.
        sampler: Samples from the assigned ones; None when testing.
    """

    extract: Callable[[Sequence[Tensor], Tensor], tuple[Tensor, ...]]
    head: nn.Module
    cfg: ConfigDict
    assigner: Any = None
    sampler: Any = None

    def train(self, x: Sequence[Tensor], proposals: Sequence[InstanceData], samples: SampleList) -> StageResult:
        """Loss terms of the proposals against the samples' objects, with all that branches and the next stage need."""
        sampled = self.sample(x, proposals, samples)
        outs = self.run(x, [InstanceData(bboxes=result.sampled_priors) for result in sampled])
        return StageResult(self.terms(outs, sampled), outs, sampled)

    def terms(self, outs: StageOutputs, sampled: Sequence[SamplingResult]) -> dict[str, Tensor]:
        """Loss terms of the outputs for the sampled regions."""
        return self.head.loss(outs.preds, sampled, self.cfg)

    def test(self, x: Sequence[Tensor], proposals: Sequence[InstanceData]) -> StageOutputs:
        """Outputs for all proposals."""
        return self.run(x, proposals)

    def run(self, x: Sequence[Tensor], proposals: Sequence[InstanceData]) -> StageOutputs:
        """Extract features of proposals from feature maps ``x`` and run the head."""
        rois = bbox2roi([image.bboxes for image in proposals])
        feats = self.extract(x, rois)
        return StageOutputs(rois, [len(image) for image in proposals], feats, self.head(*feats))

    def sample(
        self, x: Sequence[Tensor], proposals: Sequence[InstanceData], samples: SampleList
    ) -> list[SamplingResult]:
        """Assign each image's objects to its proposals and sample from them."""
        results = []
        for i, (image_proposals, sample) in enumerate(zip(proposals, samples)):
            priors = InstanceData(priors=image_proposals.bboxes)
            # rotated objects are assigned by the boxes around them: regions are axis-aligned
            gt_bboxes = geometry.as_kind_of(self.objects_to_learn(sample), priors.priors)
            comparable = InstanceData(bboxes=gt_bboxes, labels=sample.gt_instances.labels)
            assigned = self.assigner.assign(priors, comparable, sample.get('ignored_instances'))
            told = self.told_to_sampler(x, i)
            results.append(self.sampler.sample(assigned, priors, sample.gt_instances, **told))
        return results

    def told_to_sampler(self, x: Sequence[Tensor], image: int) -> dict:
        """Further arguments of the sampler for an image of the batch: ``loss_of``, where it ranks by losses."""
        if not self.sampler.needs_losses:
            return {}
        return dict(loss_of=functools.partial(self.classification_losses, x, image))

    def objects_to_learn(self, sample: DetDataSample) -> Tensor:
        """The boxes (m, 4 or 5) of a sample's objects, which are of the kind that the head makes.

        Raises:
            ConfigError: They are of another kind.
        """
        return geometry.require_kind(
            get_box_tensor(sample.gt_instances.bboxes), self.head.box_dim, type(self.head).__name__
        )

    @torch.no_grad()
    def classification_losses(self, x: Sequence[Tensor], image: int, boxes: Tensor, labels: Tensor) -> Tensor:
        """The classification loss (n,) of boxes (n, 4) of an image, whose classes (n,) are -1 for background."""
        return self.head.classification_losses(self.preds_of_boxes(x, image, boxes), labels)

    def preds_of_boxes(self, x: Sequence[Tensor], image: int, boxes: Tensor) -> Any:
        """What the head returns for boxes (n, 4) of an image."""
        rois = torch.cat([boxes.new_full((len(boxes), 1), image), boxes], dim=1)
        return self.head(*self.extract(x, rois))

    def next_proposals(
        self, outs: StageOutputs, samples: SampleList, sampled: Sequence[SamplingResult] | None = None
    ) -> list[InstanceData]:
        """The next stage's proposals: this stage's regions, refined by the deltas of one class each.

        Args:
            outs: Outputs of this stage.
            samples: Samples with ``img_shape``; boxes stay within it.
            sampled: In training, what was sampled: a positive is refined as its object's class, and regions that are
                objects themselves are left out. All other regions are refined as their likeliest class.
        """
        proposals = []
        for i, boxes in enumerate(self.refined_boxes(outs, samples, sampled)):
            if sampled is not None:
                keep = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
                keep[: len(sampled[i].pos_inds)] = ~sampled[i].pos_is_gt
                # in testing all are kept: indexing by a mask would cut the graph of torch.compile
                boxes = boxes[keep]
            proposals.append(InstanceData(bboxes=boxes))
        return proposals

    def refined_boxes(
        self, outs: StageOutputs, samples: SampleList, sampled: Sequence[SamplingResult] | None = None
    ) -> list[Tensor]:
        """The boxes (n, 4) of each image that this stage makes of its regions; arguments as of ``next_proposals``."""
        refined = []
        for i, preds in enumerate(self.head.split(outs.preds, outs.counts)):
            rois = outs.rois_of_images()[i]
            labels = rois.new_full((len(rois),), -1, dtype=torch.long)
            if sampled is not None:
                labels[: len(sampled[i].pos_inds)] = sampled[i].pos_gt_labels
            with torch.no_grad():  # not as a decorator, which torch.compile can't see through
                refined.append(self.head.refine(rois, preds, labels, samples[i].img_shape))
        return refined

    def at_predicted_boxes(self, result: StageResult, samples: SampleList) -> list[SamplingResult]:
        """The sampled regions moved to the boxes predicted for them, with the objects that they were sampled for."""
        moved = []
        for sampled, boxes in zip(result.sampled, self.refined_boxes(result.outs, samples, result.sampled)):
            priors = sampled.priors.clone()
            priors[torch.cat([sampled.pos_inds, sampled.neg_inds])] = boxes.to(priors.dtype)
            moved.append(dataclasses.replace(sampled, priors=priors))
        return moved


def positives_among(sampled: Sequence[SamplingResult]) -> Tensor:
    """(n,) bool: which of the sampled regions, positives of an image before its negatives, are positive."""
    flags = [flag for s in sampled for flag in (torch.ones_like(s.pos_inds), torch.zeros_like(s.neg_inds))]
    return torch.cat(flags).bool()
