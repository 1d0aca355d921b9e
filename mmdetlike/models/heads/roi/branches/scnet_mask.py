"""Masks of the last stage that see what its box head saw: SCNet, arXiv 2012.10150."""

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
from .mask import MaskBranch, positives_among


class SCNetMaskBranch(MaskBranch):
    """Masks by the one ``mask_head``, from features of boxes and from hidden features of the last box head."""

    def loss(
        self,
        stage: int,
        x: Sequence[Tensor],
        sampled: Sequence[SamplingResult],
        outs: StageOutputs,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """Mask loss of the positives of the last stage; nothing for the others."""
        if stage < self.regions.num_stages - 1:
            return {}
        feats = self.features_of_positives(stage, x, sampled)
        feats = self.with_relayed(feats, outs.preds[2][positives_among(sampled)])
        return self.terms(stage, x, feats, sampled, samples)

    def probabilities(self, x: Sequence[Tensor], results: Sequence[InstanceData]) -> Tensor:
        """Masks (n, h, w) in [0, 1] of the boxes of all images, each of its own class."""
        logits = self.logits_of_boxes(x, bbox2roi([result.bboxes for result in results]))
        labels = torch.cat([result.labels for result in results])
        return float32_if_half(masks_of_class(logits, labels, self.regions.mask_head.class_agnostic))[0].sigmoid()

    def raw(self, x: Sequence[Tensor], outs: StageOutputs) -> list[Tensor]:
        """Mask logits (n, C, h, w) for the last stage's regions."""
        return [self.logits_of_boxes(x, outs.rois)]

    def logits_of_boxes(self, x: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Mask logits (n, C, h, w) of regions (n, 5); the last box head looks at them once more."""
        last = self.regions.num_stages - 1
        feats = self.regions.features(self.extractor, last, x, rois)
        if self.regions.feat_relay_head is not None:
            hidden = self.regions.part('bbox_head', last)(*self.regions.box_features(last, x, rois))[2]
            feats = self.with_relayed(feats, hidden)
        return self.logits(feats, [last])[0]

    def with_relayed(self, feats: Tensor, hidden: Tensor) -> Tensor:
        """Region features (n, C, h, w) with what the relay makes of hidden features (n, c) of the box head."""
        relay = self.regions.feat_relay_head
        return feats if relay is None else feats + relay(hidden)
