"""One stage of a region-based detector: proposals -> assign -> sample -> extract -> head -> losses or predictions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2roi


@dataclass
class Stage:
    """What a two-stage detector does once and a cascade several times.

    Attributes:
        extractor: Pools region features.
        head: Classifies and regresses them.
        cfg: ``train_cfg.rcnn`` or ``test_cfg.rcnn`` of this stage.
        assigner: Assigns objects to proposals; None when testing.
        sampler: Samples from the assigned ones; None when testing.
        shared_head: Runs on region features before ``head``, or None.
    """

    extractor: nn.Module
    head: nn.Module
    cfg: ConfigDict
    assigner: object = None
    sampler: object = None
    shared_head: nn.Module | None = None

    def sample(self, proposals: Sequence[InstanceData], samples: SampleList) -> list[SamplingResult]:
        """Assign each image's objects to its proposals (``bboxes``) and sample from them."""
        results = []
        for image_proposals, sample in zip(proposals, samples):
            priors = InstanceData(priors=image_proposals.bboxes)
            assigned = self.assigner.assign(priors, sample.gt_instances, sample.get('ignored_instances'))
            results.append(self.sampler.sample(assigned, priors, sample.gt_instances))
        return results

    def features(self, x: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Region features (n, C, h, w) of ``rois`` (n, 5) from maps ``x``."""
        feats = self.extractor(x, rois)
        return feats if self.shared_head is None else self.shared_head(feats)

    def forward(self, x: Sequence[Tensor], rois: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Class logits and deltas of ``rois`` (n, 5)."""
        return self.head(self.features(x, rois))

    def loss(self, x: Sequence[Tensor], sampled: Sequence[SamplingResult]) -> dict[str, Tensor]:
        """Loss terms of the sampled regions."""
        rois = bbox2roi([result.sampled_priors for result in sampled])
        return self.head.loss(*self.forward(x, rois), sampled, self.cfg)

    def predict(
        self, x: Sequence[Tensor], proposals: Sequence[InstanceData], samples: SampleList, rescale: bool
    ) -> list[InstanceData]:
        """Boxes of each image."""
        boxes = [image_proposals.bboxes for image_proposals in proposals]
        rois = bbox2roi(boxes)
        cls_score, bbox_pred = self.forward(x, rois)
        counts = [len(b) for b in boxes]
        bbox_preds = [None] * len(boxes) if bbox_pred is None else bbox_pred.split(counts)
        return [
            self.head.predict(roi, score, pred, sample.metainfo, self.cfg, rescale)
            for roi, score, pred, sample in zip(torch.split(rois, counts), cls_score.split(counts), bbox_preds, samples)
        ]
