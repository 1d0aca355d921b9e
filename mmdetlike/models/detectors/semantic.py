"""Detectors that give every pixel a class and find no objects."""

from mmengine.structures import PixelData
from torch import Tensor

from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .base import BaseDetector


@MODELS.register_module()
class SemanticSegmentor(BaseDetector):
    """Semantic segmentation alone: a class for each pixel.

    Args:
        semantic_head: Feature maps -> class of each pixel.
        backbone, neck, train_cfg, test_cfg, data_preprocessor, init_cfg: As of ``BaseDetector``.
    """

    def __init__(
        self,
        *,
        semantic_head: dict,
        backbone: dict,
        neck: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(backbone, neck, train_cfg, test_cfg, data_preprocessor, init_cfg)
        self.semantic_head = MODELS.build(semantic_head)

    def loss_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> dict[str, Tensor]:
        return self.semantic_head.loss(x, samples)

    def predict_of_maps(self, x: tuple[Tensor, ...], samples: SampleList, rescale: bool) -> list[dict]:
        """``pred_sem_seg`` of each image, a map (1, h, w) of classes."""
        logits = self.semantic_head.predict(x, samples, rescale)
        return [dict(pred_sem_seg=PixelData(sem_seg=image.argmax(0, keepdim=True))) for image in logits]

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList | None = None) -> Tensor:
        return self.semantic_head(self.extract_feat(batch_inputs))
