"""Cascades whose regions see semantic features of the whole image: arXiv 1901.07518, 2012.10150."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .cascade_roi_head import CascadeRoIHead


class SemanticCascadeRoIHead(CascadeRoIHead):
    """Base of cascades with a semantic branch, whose features are added to those of regions.

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
