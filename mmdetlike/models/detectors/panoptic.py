"""Detectors of pixels: Panoptic FPN, arXiv 1901.02446, MaskFormer, 2107.06278, Panoptic-DeepLab, 1911.10194."""

from functools import partial

from mmengine.structures import PixelData
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.models.utils import padding_of, to_image_size
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .base import BaseDetector, weighted_terms
from .old_keys import OF_MASK2FORMER, OF_MASKFORMER
from .two_stage import TwoStageDetector


@MODELS.register_module()
class TwoStagePanopticSegmentor(TwoStageDetector):
    """A two-stage detector with a semantic head beside it, and a head that fuses both.

    Args:
        semantic_head: Feature maps -> class of each pixel.
        panoptic_fusion_head: Masks and classes -> segments; ``test_cfg.panoptic`` is for it. With
            ``test_cfg=dict(panoptic=dict(enabled=False))`` nothing is fused: results are ``pred_instances`` and
            ``pred_sem_seg``, the classes of stuff, ``num_classes`` where there are things.
        roi_head, rpn_head, train_cfg, test_cfg: As of ``TwoStageDetector``.
        backbone, neck, data_preprocessor, init_cfg: As of ``BaseDetector``.
        instance_loss_weight: Factor of all losses of instances, those of proposals included.

    Raises:
        ConfigError: ``roi_head`` has no ``mask_head``.
    """

    def __init__(
        self,
        *,
        semantic_head: dict,
        panoptic_fusion_head: dict,
        roi_head: dict,
        backbone: dict,
        neck: dict | None = None,
        rpn_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
        instance_loss_weight: float = 1.0,
    ) -> None:
        settings = dict(train_cfg=train_cfg, test_cfg=test_cfg, data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        super().__init__(roi_head=roi_head, rpn_head=rpn_head, backbone=backbone, neck=neck, **settings)
        if not self.roi_head.with_mask:
            raise ConfigError(f'{type(self).__name__} fuses masks, but roi_head has no mask_head')
        self.instance_loss_weight = instance_loss_weight
        self.semantic_head = MODELS.build(semantic_head)
        self.panoptic_fusion_head = MODELS.build(dict(panoptic_fusion_head, test_cfg=self.test_cfg.get('panoptic')))

    def loss_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> dict:
        losses = weighted_terms(super().loss_of_maps(x, samples), self.instance_loss_weight)
        return {**losses, **self.semantic_head.loss(x, samples)}

    def predict_of_maps(self, x: tuple[Tensor, ...], samples: SampleList, rescale: bool) -> list[dict]:
        instances = super().predict_of_maps(x, samples, rescale)
        logits = self.semantic_head.predict(x, samples, rescale)
        if not (self.test_cfg.get('panoptic') or {}).get('enabled', True):
            stuff = [image.argmax(0, keepdim=True) + self.panoptic_fusion_head.num_things_classes for image in logits]
            return [dict(pred_instances=a, pred_sem_seg=PixelData(sem_seg=b)) for a, b in zip(instances, stuff)]
        segments = self.panoptic_fusion_head.predict(instances, logits)
        return [dict(pred_instances=a, pred_panoptic_seg=b) for a, b in zip(instances, segments)]


@MODELS.register_module()
class PanopticFPN(TwoStagePanopticSegmentor):
    """Panoptic Feature Pyramid Networks, arXiv 1901.02446."""


@MODELS.register_module()
class MaskFormer(BaseDetector):
    """Per-Pixel Classification is Not All You Need for Semantic Segmentation, arXiv 2107.06278.

    Args:
        panoptic_head: Feature maps -> classes and masks of queries.
        panoptic_fusion_head: Those -> what ``test_cfg`` wants: ``pred_panoptic_seg``, ``pred_instances``,
            ``pred_sem_seg``.
        backbone, neck, train_cfg, test_cfg, data_preprocessor, init_cfg: As of ``BaseDetector``.
    """

    old_keys = OF_MASKFORMER

    def __init__(
        self,
        *,
        panoptic_head: dict,
        panoptic_fusion_head: dict,
        backbone: dict,
        neck: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(backbone, neck, train_cfg, test_cfg, data_preprocessor, init_cfg)
        self.panoptic_head = self.build_head(panoptic_head)
        self.panoptic_fusion_head = MODELS.build(dict(panoptic_fusion_head, test_cfg=self.test_cfg))

    def loss_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> dict[str, Tensor]:
        return self.panoptic_head.loss(x, samples)

    def predict_of_maps(self, x: tuple[Tensor, ...], samples: SampleList, rescale: bool) -> list[dict]:
        preds = self.panoptic_head.predict(x, samples)
        return self.panoptic_fusion_head.predict(*preds, samples, rescale)

    def detect_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> list[dict[str, Tensor]]:
        """Boxes, scores, labels and ``masks`` (n, height, width) bool of the image, if ``test_cfg`` wants instances."""
        if not self.test_cfg.get('instance_on', False):
            raise NotImplementedError('only instances have a form of tensors alone, and test_cfg.instance_on is off')
        results = []
        for logits, masks, sample in zip(*self.panoptic_head.predict(x, samples), samples):
            resize = partial(to_image_size, sample=sample, rescale=False)
            results.append(self.panoptic_fusion_head.detect(logits, masks, resize))
        return results

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList | None = None):
        masks = padding_of(batch_data_samples, batch_inputs.device) if batch_data_samples else None
        return self.panoptic_head(self.extract_feat(batch_inputs), masks)


@MODELS.register_module()
class Mask2Former(MaskFormer):
    """Masked-attention Mask Transformer for Universal Image Segmentation, arXiv 2112.01527."""

    old_keys = OF_MASK2FORMER


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
