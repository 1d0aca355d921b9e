"""Masks that are trained on refined boxes and hand their features on: Hybrid Task Cascade, arXiv 1901.07518."""

from collections.abc import Sequence

from torch import Tensor

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.structures import SampleList

from ..stage import StageOutputs
from .mask import MaskBranch


class HTCMaskBranch(MaskBranch):
    """Masks of a cascade; the region head says by ``interleaved`` and ``mask_info_flow`` how they depend on it."""

    def loss(
        self,
        stage: int,
        x: Sequence[Tensor],
        sampled: Sequence[SamplingResult],
        outs: StageOutputs,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """Mask loss of the positives, with ``interleaved`` among the boxes that this stage has refined."""
        if not self.regions.interleaved:
            return super().loss(stage, x, sampled, outs, samples)
        # the paper's interleaved execution: masks learn on boxes of the quality that testing has, so refined boxes are
        # assigned and sampled once more
        steps = self.regions.stage(stage, training=True)
        refined = steps.next_proposals(outs, samples, sampled)
        resampled = steps.sample(x, refined, samples)
        return self.terms(stage, x, self.features_of_positives(stage, x, resampled), resampled, samples)

    def logits(self, feats: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Mask logits of the given stages; with ``mask_info_flow`` each head gets the features of those before it."""
        if not self.regions.mask_info_flow:
            return super().logits(feats, stages)
        logits = []
        hidden = None
        for i, head in enumerate(self.regions.mask_head[: max(stages) + 1]):
            hidden = head.hidden(feats, hidden)
            if i in stages:
                logits.append(head.logits(hidden))
        return logits

    def logits_of_stages(self, x: Sequence[Tensor], rois: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Mask logits in testing; with ``mask_info_flow`` all from the features of the last stage's extractor."""
        if not self.regions.mask_info_flow:
            return super().logits_of_stages(x, rois, stages)
        last = self.regions.num_stages - 1
        return self.logits(self.regions.features(self.extractor, last, x, rois), stages)

    @property
    def averaged_stages(self) -> Sequence[int]:
        """With ``mask_info_flow`` the last stage alone, which has seen the features of all others."""
        return [self.regions.num_stages - 1] if self.regions.mask_info_flow else super().averaged_stages
