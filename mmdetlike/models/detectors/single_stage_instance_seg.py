"""Detectors that predict masks from pyramid maps at once."""

from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .base import BaseDetector
from .settings import with_cfgs


@MODELS.register_module()
class SingleStageInstanceSegmentor(BaseDetector):
    """Backbone, neck, a mask head and, if the masks are of boxes, a dense head.

    Args:
        backbone: Image -> maps.
        neck: Maps -> pyramid, or None.
        bbox_head: Pyramid -> boxes, or None.
        mask_head: Pyramid and, if there are any, boxes -> masks.
        train_cfg: Handed to both heads.
        test_cfg: Handed to both heads.
        data_preprocessor: Stacks, pads and normalises images.
        init_cfg: Weight initialisation.

    Raises:
        ValueError: ``mask_head`` is None.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        bbox_head: dict | None = None,
        mask_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if mask_head is None:
            raise ValueError(f'{type(self).__name__} needs mask_head, the config of what predicts masks; got None')
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck) if neck is not None else None
        self.bbox_head = None
        if bbox_head is not None:
            self.bbox_head = MODELS.build(with_cfgs(bbox_head, train_cfg, test_cfg))
        self.mask_head = MODELS.build(with_cfgs(mask_head, train_cfg, test_cfg))

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """Loss terms of images (B, 3, H, W)."""
        x = self.extract_feat(batch_inputs)
        if self.bbox_head is None:
            return self.mask_head.loss(x, batch_data_samples)
        losses, positives = self.bbox_head.loss_with_positives(x, batch_data_samples)
        return {**losses, **self.mask_head.loss(x, batch_data_samples, positives)}

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """The samples with ``pred_instances``, in pixels of the original images unless ``rescale`` is False."""
        x = self.extract_feat(batch_inputs)
        results: list[InstanceData] | None = None
        if self.bbox_head is not None:
            results = self.bbox_head.predict(x, batch_data_samples, rescale=rescale)
        results = self.mask_head.predict(x, batch_data_samples, rescale, results)
        return self.add_pred_to_datasample(batch_data_samples, results)

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList | None = None):
        x = self.extract_feat(batch_inputs)
        if self.bbox_head is None:
            return self.mask_head(x)
        return self.bbox_head(x)


@MODELS.register_module()
class SOLO(SingleStageInstanceSegmentor):
    """SOLO: Segmenting Objects by Locations, arXiv 1912.04488."""


@MODELS.register_module()
class SOLOv2(SingleStageInstanceSegmentor):
    """SOLOv2: Dynamic and Fast Instance Segmentation, arXiv 2003.10152."""


@MODELS.register_module()
class CondInst(SingleStageInstanceSegmentor):
    """Conditional Convolutions for Instance Segmentation, arXiv 2003.05664."""
