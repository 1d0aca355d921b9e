"""Detectors that predict masks from pyramid maps at once."""

from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .base import BaseDetector


@MODELS.register_module()
class SingleStageInstanceSegmentor(BaseDetector):
    """Backbone, neck, a mask head and, if the masks are of boxes, a dense head.

    Args:
        mask_head: Pyramid and, if there are any, boxes -> masks.
        bbox_head: Pyramid -> boxes, or None.
        kwargs: See ``BaseDetector``.

    Raises:
        ValueError: ``mask_head`` is None.
    """

    def __init__(self, mask_head: dict | None = None, bbox_head: dict | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        if mask_head is None:
            raise ValueError(f'{type(self).__name__} needs mask_head, the config of what predicts masks; got None')
        self.bbox_head = self.build_head(bbox_head) if bbox_head is not None else None
        self.mask_head = self.build_head(mask_head)

    def loss_of_maps(self, x: tuple[Tensor, ...], batch_data_samples: SampleList) -> dict:
        if self.bbox_head is None:
            return self.mask_head.loss(x, batch_data_samples)
        losses, positives = self.bbox_head.loss_with_positives(x, batch_data_samples)
        return {**losses, **self.mask_head.loss(x, batch_data_samples, positives)}

    def predict_of_maps(
        self, x: tuple[Tensor, ...], batch_data_samples: SampleList, rescale: bool
    ) -> list[InstanceData]:
        results = None
        if self.bbox_head is not None:
            results = self.bbox_head.predict(x, batch_data_samples, rescale=rescale)
        return self.mask_head.predict(x, batch_data_samples, rescale, results)

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList | None = None):
        head = self.mask_head if self.bbox_head is None else self.bbox_head
        return head(self.extract_feat(batch_inputs))


@MODELS.register_module()
class SOLO(SingleStageInstanceSegmentor):
    """SOLO: Segmenting Objects by Locations, arXiv 1912.04488."""


@MODELS.register_module()
class SOLOv2(SingleStageInstanceSegmentor):
    """SOLOv2: Dynamic and Fast Instance Segmentation, arXiv 2003.10152."""


@MODELS.register_module()
class CondInst(SingleStageInstanceSegmentor):
    """Conditional Convolutions for Instance Segmentation, arXiv 2003.05664."""
