"""Boxes and masks that help each other, with semantic context: Hybrid Task Cascade, arXiv 1901.07518."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .branches import MaskBranch
from .cascade_roi_head import CascadeRoIHead
from .stage import StageOutputs


class SemanticCascadeRoIHead(CascadeRoIHead):
    """Base of cascades whose regions see semantic features of the whole image: arXiv 1901.07518, 2012.10150.

    Args:
        num_stages, stage_loss_weights: As of ``CascadeRoIHead``.
        semantic_roi_extractor: Pools semantic features of regions.
        semantic_head: Segments the image from the pyramid; None for none.
        semantic_fusion: Which of ``'bbox'`` and ``'mask'`` add semantic features to their own.

    Raises:
        ConfigError: One of ``semantic_head`` and ``semantic_roi_extractor`` is missing.
    """

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        semantic_roi_extractor: dict | None = None,
        semantic_head: dict | None = None,
        semantic_fusion: Sequence[str] = ('bbox', 'mask'),
        **kwargs,
    ) -> None:
        super().__init__(num_stages, stage_loss_weights, **kwargs)
        if (semantic_head is None) != (semantic_roi_extractor is None):
            raise ConfigError('semantic_head and semantic_roi_extractor go together, got one of them')
        self.semantic_roi_extractor = MODELS.build(semantic_roi_extractor) if semantic_roi_extractor else None
        self.semantic_head = MODELS.build(semantic_head) if semantic_head else None
        self.semantic_fusion = semantic_fusion

    @property
    def with_semantic(self) -> bool:
        """Whether there is a semantic branch."""
        return self.semantic_head is not None

    def image_context(
        self, x: Sequence[Tensor], samples: SampleList | None = None
    ) -> tuple[Sequence[Tensor], dict[str, Tensor]]:
        """The feature maps, followed by the semantic features, and the loss of the segmentation.

        In training the samples need ``gt_sem_seg``.
        """
        if not self.with_semantic:
            return super().image_context(x, samples)
        logits, feats = self.semantic_head(x)
        losses = {} if samples is None else dict(loss_semantic_seg=self.semantic_head.loss(logits, samples))
        return (*x, feats), losses

    def features(
        self,
        extractor: str,
        stage: int,
        x: Sequence[Tensor],
        rois: Tensor,
        roi_scale_factor: float | None = None,
    ) -> Tensor:
        """Region features, with the semantic ones added where ``semantic_fusion`` says so."""
        feats = super().features(extractor, stage, x, rois, roi_scale_factor)
        if self.with_semantic and extractor.removesuffix('_roi_extractor') in self.semantic_fusion:
            semantic = self.semantic_roi_extractor([x[-1]], rois, roi_scale_factor)
            feats = feats + F.adaptive_avg_pool2d(semantic, feats.shape[-2:])
        return feats


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


@MODELS.register_module()
class HybridTaskCascadeRoIHead(SemanticCascadeRoIHead):
    """A cascade whose masks are trained on refined boxes, hand their features on and see a semantic branch.

    Args:
        num_stages, stage_loss_weights: As of ``CascadeRoIHead``.
        semantic_roi_extractor, semantic_head, semantic_fusion: As of ``SemanticCascadeRoIHead``.
        interleaved: Train a stage's masks on the boxes that this stage has refined.
        mask_info_flow: Feed each mask head the features of the one before.
    """

    mask_branch_class = HTCMaskBranch

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        semantic_roi_extractor: dict | None = None,
        semantic_head: dict | None = None,
        semantic_fusion: Sequence[str] = ('bbox', 'mask'),
        interleaved: bool = True,
        mask_info_flow: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(
            num_stages, stage_loss_weights, semantic_roi_extractor, semantic_head, semantic_fusion, **kwargs
        )
        self.interleaved, self.mask_info_flow = interleaved, mask_info_flow
