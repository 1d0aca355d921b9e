"""Masks of queries: Instances as Queries, arXiv 2105.01928."""

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2roi

from ..mask_heads import masks_of_class
from ..stage import StageOutputs
from .mask import MaskBranch


class QueryMaskBranch(MaskBranch):
    """Masks by ``mask_head`` from the features of a query's box and the query itself."""

    def loss(
        self,
        stage: int,
        x: Sequence[Tensor],
        sampled: Sequence[SamplingResult],
        outs: StageOutputs,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """Mask loss of the matched queries, in the boxes that this stage predicts."""
        head = self.regions.part('mask_head', stage)
        of_images = outs.preds.attended.split(outs.counts)
        queries = torch.cat([image[result.pos_inds] for image, result in zip(of_images, sampled)])
        logits = head(self.features_of_positives(stage, x, sampled), queries)
        labels = torch.cat([result.pos_gt_labels for result in sampled])
        return dict(loss_mask=head.loss(logits, self.targets(stage, sampled, samples), labels))

    def probabilities(self, x: Sequence[Tensor], results: Sequence[InstanceData]) -> Tensor:
        """Masks (n, h, w) in [0, 1] of the boxes of all images by the last stage, each of its own class."""
        rois = bbox2roi([result.bboxes for result in results])
        logits = self.last_logits(x, rois, torch.cat([result.query_features for result in results]))
        labels = torch.cat([result.labels for result in results])
        return float32_if_half(masks_of_class(logits, labels, self.regions.mask_head[-1].class_agnostic))[0].sigmoid()

    def raw(self, x: Sequence[Tensor], outs: StageOutputs) -> list[Tensor]:
        """Mask logits (n, C, h, w) of all queries in the boxes that the last stage predicts."""
        image_inds = outs.rois[:, :1]
        return [self.last_logits(x, torch.cat([image_inds, outs.preds.bboxes], dim=1), outs.preds.attended)]

    def last_logits(self, x: Sequence[Tensor], rois: Tensor, queries: Tensor) -> Tensor:
        """Mask logits (n, C, h, w) of the last stage for regions (n, 5) and queries (n, C)."""
        last = self.regions.num_stages - 1
        return self.regions.mask_head[last](self.regions.features(self.extractor, last, x, rois), queries)
