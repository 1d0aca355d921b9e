"""Masks of the last stage that see what its box head saw: SCNet, arXiv 2012.10150."""

from collections.abc import Sequence

from torch import Tensor

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.structures import SampleList

from ..stage import StageOutputs, positives_among
from .mask import MaskBranch


class SCNetMaskBranch(MaskBranch):
    """Masks by the one ``mask_head``, from features of boxes and from hidden features of the last box head."""

    @property
    def stages_with_masks(self) -> Sequence[int]:
        """The last stage alone."""
        return [self.regions.num_stages - 1]

    def loss(
        self,
        stage: int,
        x: Sequence[Tensor],
        sampled: Sequence[SamplingResult],
        outs: StageOutputs,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """Mask loss of the positives of the last stage; nothing for the others."""
        if stage not in self.stages_with_masks:
            return {}
        feats = self.features_of_positives(stage, x, sampled)
        feats = self.with_relayed(feats, outs.preds[2][positives_among(sampled)])
        return self.terms(stage, x, feats, sampled, samples)

    def logits_of_stages(self, x: Sequence[Tensor], rois: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Mask logits (n, C, h, w) of the last stage for regions (n, 5); its box head looks at them once more."""
        (last,) = stages
        feats = self.regions.features(self.extractor, last, x, rois)
        if self.regions.feat_relay_head is not None:
            hidden = self.regions.part('bbox_head', last)(*self.regions.box_features(last, x, rois))[2]
            feats = self.with_relayed(feats, hidden)
        return self.logits(feats, stages)

    def with_relayed(self, feats: Tensor, hidden: Tensor) -> Tensor:
        """Region features (n, C, h, w) with what the relay makes of hidden features (n, c) of the box head."""
        relay = self.regions.feat_relay_head
        return feats if relay is None else feats + relay(hidden)
