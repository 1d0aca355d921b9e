"""Detectors that give every pixel a segment: Panoptic FPN, arXiv 1901.02446; MaskFormer, arXiv 2107.06278."""

from torch import Tensor

from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .base import BaseDetector
from .settings import with_cfgs
from .two_stage import TwoStageDetector


@MODELS.register_module()
class TwoStagePanopticSegmentor(TwoStageDetector):
    """A two-stage detector with a semantic head beside it, and a head that fuses both.

    Args:
        semantic_head: Pyramid -> class of each pixel.
        panoptic_fusion_head: Masks and classes -> segments; ``test_cfg.panoptic`` is for it.
        kwargs: See ``TwoStageDetector``.

    Raises:
        ValueError: ``roi_head`` has no ``mask_head``.
    """

    def __init__(self, *args, semantic_head: dict, panoptic_fusion_head: dict, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if not self.roi_head.with_mask:
            raise ValueError(f'{type(self).__name__} fuses masks, but roi_head has no mask_head')
        self.semantic_head = MODELS.build(semantic_head)
        fusion = dict(panoptic_fusion_head, test_cfg=self.test_cfg.get('panoptic'))
        self.panoptic_fusion_head = MODELS.build(fusion)

    def loss_of_maps(self, x: tuple[Tensor, ...], batch_data_samples: SampleList) -> dict:
        """Loss terms of the detector and of the semantic head."""
        losses = super().loss_of_maps(x, batch_data_samples)
        return {**losses, **self.semantic_head.loss(x, batch_data_samples)}

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """The samples with ``pred_instances`` and ``pred_panoptic_seg``."""
        x = self.extract_feat(batch_inputs)
        proposals = self._proposals(x, batch_data_samples)
        instances = self.roi_head.predict(x, proposals, batch_data_samples, rescale=rescale)
        logits = self.semantic_head.predict(x, batch_data_samples, rescale)
        segments = self.panoptic_fusion_head.predict(instances, logits)
        for sample, segment in zip(batch_data_samples, segments):
            sample.pred_panoptic_seg = segment
        return self.add_pred_to_datasample(batch_data_samples, instances)


@MODELS.register_module()
class PanopticFPN(TwoStagePanopticSegmentor):
    """Panoptic Feature Pyramid Networks, arXiv 1901.02446."""


@MODELS.register_module()
class MaskFormer(BaseDetector):
    """Per-Pixel Classification is Not All You Need for Semantic Segmentation, arXiv 2107.06278.

    Args:
        backbone: Image -> maps.
        neck: Maps -> maps, or None.
        panoptic_head: Maps -> classes and masks of queries.
        panoptic_fusion_head: Those -> segments and instances.
        train_cfg: Handed to ``panoptic_head``.
        test_cfg: Handed to both heads.
        data_preprocessor: Stacks, pads and normalises images.
        init_cfg: Weight initialisation.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        panoptic_head: dict | None = None,
        panoptic_fusion_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck) if neck is not None else None
        self.panoptic_head = MODELS.build(with_cfgs(panoptic_head, train_cfg, test_cfg))
        self.panoptic_fusion_head = MODELS.build(dict(panoptic_fusion_head, test_cfg=test_cfg))

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Loss terms of images (B, 3, H, W)."""
        return self.panoptic_head.loss(self.extract_feat(batch_inputs), batch_data_samples)

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """The samples with what ``test_cfg`` wants: ``pred_panoptic_seg``, ``pred_instances``, ``pred_sem_seg``."""
        preds = self.panoptic_head.predict(self.extract_feat(batch_inputs), batch_data_samples)
        results = self.panoptic_fusion_head.predict(*preds, batch_data_samples, rescale)
        for sample, result in zip(batch_data_samples, results):
            for name, value in result.items():
                setattr(sample, name, value)
        return batch_data_samples

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList | None = None):
        return self.panoptic_head(self.extract_feat(batch_inputs))


@MODELS.register_module()
class Mask2Former(MaskFormer):
    """Masked-attention Mask Transformer for Universal Image Segmentation, arXiv 2112.01527."""
