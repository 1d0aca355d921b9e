"""Boxes and masks that help each other, with semantic context: Hybrid Task Cascade, arXiv 1901.07518."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .cascade_roi_head import CascadeRoIHead
from .stage import Stage, StageOutputs


@MODELS.register_module()
class HybridTaskCascadeRoIHead(CascadeRoIHead):
    """A cascade whose masks are trained on refined boxes, hand their features on and see a semantic branch.

    The maps ``x`` of its methods end with the semantic features, if there is a semantic branch.

    Args:
        num_stages: How many stages.
        stage_loss_weights: Weight of each stage's losses.
        semantic_roi_extractor: Pools semantic features of regions.
        semantic_head: Segments the image from the pyramid.
        semantic_fusion: Which of ``'bbox'`` and ``'mask'`` add semantic features to their own.
        interleaved: Train a stage's masks on the boxes that this stage has refined.
        mask_info_flow: Feed each mask head the features of the one before.
        kwargs: See ``CascadeRoIHead``.

    Raises:
        ValueError: One of ``semantic_head`` and ``semantic_roi_extractor`` is missing.
    """

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
        super().__init__(num_stages, stage_loss_weights, **kwargs)
        if (semantic_head is None) != (semantic_roi_extractor is None):
            raise ValueError('semantic_head and semantic_roi_extractor go together, got one of them')
        self.semantic_roi_extractor = MODELS.build(semantic_roi_extractor) if semantic_roi_extractor else None
        self.semantic_head = MODELS.build(semantic_head) if semantic_head else None
        self.semantic_fusion, self.interleaved, self.mask_info_flow = semantic_fusion, interleaved, mask_info_flow

    @property
    def with_semantic(self) -> bool:
        """Whether there is a semantic branch."""
        return self.semantic_head is not None

    def _with_semantics(self, x: Sequence[Tensor]) -> Sequence[Tensor]:
        return (*x, self.semantic_head(x)[1]) if self.with_semantic else x

    def forward(self, x: Sequence[Tensor], *args) -> tuple:
        """Raw outputs of all stages, see ``RoIHead``."""
        return super().forward(self._with_semantics(x), *args)

    def loss(
        self, x: Sequence[Tensor], rpn_results_list: Sequence[InstanceData], batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Loss terms of all stages and of the semantic branch, which needs samples with ``gt_sem_seg``."""
        if not self.with_semantic:
            return super().loss(x, rpn_results_list, batch_data_samples)
        logits, feats = self.semantic_head(x)
        losses = dict(loss_semantic_seg=self.semantic_head.loss(logits, batch_data_samples))
        return {**losses, **super().loss((*x, feats), rpn_results_list, batch_data_samples)}

    def predict(self, x: Sequence[Tensor], *args, **kwargs) -> list[InstanceData]:
        """Objects of each image, see ``RoIHead``."""
        return super().predict(self._with_semantics(x), *args, **kwargs)

    def features(self, extractor: str, stage: int, x: Sequence[Tensor], rois: Tensor) -> Tensor:
        feats = super().features(extractor, stage, x, rois)
        if self.with_semantic and extractor.removesuffix('_roi_extractor') in self.semantic_fusion:
            semantic = self.semantic_roi_extractor([x[-1]], rois)
            feats = feats + F.adaptive_avg_pool2d(semantic, feats.shape[-2:])
        return feats

    def stage_mask_loss(
        self,
        i: int,
        x: Sequence[Tensor],
        stage: Stage,
        sampled: Sequence[SamplingResult],
        outs: StageOutputs,
        samples: SampleList,
    ) -> dict[str, Tensor]:
        if not self.interleaved:
            return super().stage_mask_loss(i, x, stage, sampled, outs, samples)
        refined = stage.refine_sampled(outs, sampled, samples)
        return self.mask_loss(i, x, stage.sample(x, refined, samples), samples)

    def mask_logits(self, feats: Tensor, stages: Sequence[int]) -> list[Tensor]:
        if not self.mask_info_flow:
            return super().mask_logits(feats, stages)
        logits, hidden = [], None
        for i, head in enumerate(self.mask_head[: max(stages) + 1]):
            hidden = head.hidden(feats, hidden)
            if i in stages:
                logits.append(head.logits(hidden))
        return logits

    def mask_logits_of_stages(self, x: Sequence[Tensor], rois: Tensor, stages: Sequence[int]) -> list[Tensor]:
        if not self.mask_info_flow:
            return super().mask_logits_of_stages(x, rois, stages)
        return self.mask_logits(self.features(self.mask_extractor, self.num_stages - 1, x, rois), stages)

    @property
    def stages_of_masks(self) -> Sequence[int]:
        # the last stage has seen the features of all others
        return [self.num_stages - 1] if self.mask_info_flow else super().stages_of_masks
