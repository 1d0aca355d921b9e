"""A stage of learned proposals: run first, then match predictions to objects. Sparse R-CNN, arXiv 2011.12450."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2roi

from .stage import Stage, StageOutputs, StageResult


class QueryStage(Stage):
    """One pass over queries: proposals that have ``features`` (Q, C) beside ``bboxes`` (Q, 4), Q the same everywhere.

    Nothing is sampled: the head predicts for all queries, and its predictions are matched to the objects. The next
    stage starts from the boxes and the features that this one predicts.
    """

    def run(self, x: Sequence[Tensor], proposals: Sequence[InstanceData]) -> StageOutputs:
        """Extract features of the queries' boxes from feature maps ``x`` and run the head; see ``DIIHead``."""
        rois = bbox2roi([image.bboxes for image in proposals])
        feats = self.extract(x, rois)
        queries = torch.stack([image.features for image in proposals])
        return StageOutputs(rois, [len(image) for image in proposals], feats, self.head(*feats, queries, rois))

    def train(self, x: Sequence[Tensor], proposals: Sequence[InstanceData], samples: SampleList) -> StageResult:
        """Loss terms of the queries' predictions, matched to the samples' objects."""
        outs = self.run(x, proposals)
        matched = self.match(outs, samples)
        image_sizes = [sample.img_shape for sample in samples]
        return StageResult(self.head.loss(outs.preds, matched, self.cfg, image_sizes), outs, matched)

    def match(self, outs: StageOutputs, samples: SampleList) -> list[SamplingResult]:
        """Assign each image's objects to what its queries predict; the predicted boxes are the result's priors."""
        results = []
        for preds, sample in zip(self.head.split(outs.preds, outs.counts), samples):
            boxes = preds.bboxes.detach()
            self.objects_to_learn(sample)  # raises for rotated ones
            candidates = InstanceData(scores=preds.cls_score.detach(), bboxes=boxes, priors=boxes)
            # costs of boxes are shares of the image
            candidates.set_metainfo(dict(img_shape=sample.img_shape))
            assigned = self.assigner.assign(candidates, sample.gt_instances)
            results.append(self.sampler.sample(assigned, candidates, sample.gt_instances))
        return results

    def next_proposals(
        self, outs: StageOutputs, samples: SampleList, sampled: Sequence[SamplingResult] | None = None
    ) -> list[InstanceData]:
        """All queries with their predicted boxes, which carry no gradient, and features, which do."""
        return [
            InstanceData(bboxes=preds.bboxes.detach(), features=preds.features)
            for preds in self.head.split(outs.preds, outs.counts)
        ]
