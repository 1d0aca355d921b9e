"""Panoptic segmentation without boxes: Panoptic-DeepLab, arXiv 1911.10194."""

from torch import Tensor

from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .base import BaseDetector


@MODELS.register_module()
class PanopticDeepLab(BaseDetector):
    """Classes of pixels, and centers to which pixels of things belong: Panoptic-DeepLab, arXiv 1911.10194.

    Args:
        semantic_head: Feature maps -> class of each pixel.
        center_head: Feature maps -> centers of instances, and the way to the center from each pixel.
        panoptic_fusion_head: Those -> segments and instances; ``test_cfg`` is for it.
        backbone, neck, train_cfg, test_cfg, data_preprocessor, init_cfg: As of ``BaseDetector``.
    """

    def __init__(
        self,
        *,
        semantic_head: dict,
        center_head: dict,
        panoptic_fusion_head: dict,
        backbone: dict,
        neck: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(backbone, neck, train_cfg, test_cfg, data_preprocessor, init_cfg)
        self.semantic_head = MODELS.build(semantic_head)
        self.center_head = MODELS.build(center_head)
        self.panoptic_fusion_head = MODELS.build(dict(panoptic_fusion_head, test_cfg=self.test_cfg))

    def loss_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> dict[str, Tensor]:
        return {**self.semantic_head.loss(x, samples), **self.center_head.loss(x, samples)}

    def predict_of_maps(self, x: tuple[Tensor, ...], samples: SampleList, rescale: bool) -> list[dict]:
        """``pred_panoptic_seg``, ``pred_instances`` and ``pred_sem_seg`` of each image."""
        logits = self.semantic_head.predict(x, samples, rescale)
        centers = self.center_head.predict(x, samples, rescale)
        return [self.panoptic_fusion_head.predict_image(image, *maps) for image, maps in zip(logits, centers)]

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList | None = None) -> tuple[Tensor, ...]:
        x = self.extract_feat(batch_inputs)
        return self.semantic_head(x), *self.center_head(x)
