"""Masks of a cascade that has one mask head for all its stages, as Detectron2's."""

from collections.abc import Sequence

from torch import Tensor

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.structures import SampleList

from ..stage import StageOutputs
from .mask import MaskBranch


class FirstStageMaskBranch(MaskBranch):
    """Masks that are trained on the regions of the first stage alone and predicted for the last one's boxes."""

    def loss(
        self,
        stage: int,
        x: Sequence[Tensor],
        sampled: Sequence[SamplingResult],
        outs: StageOutputs,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        """Mask loss of the first stage's positives; nothing for later stages."""
        return super().loss(stage, x, sampled, outs, samples) if stage == 0 else {}

    @property
    def averaged_stages(self) -> Sequence[int]:
        """The one set of masks that there is."""
        return [0]

    def raw(self, x: Sequence[Tensor], outs: StageOutputs) -> list[Tensor]:
        """Mask logits (n, C, h, w) for the last stage's regions."""
        return self.logits_of_stages(x, outs.rois, [0])
