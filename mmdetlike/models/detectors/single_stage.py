"""Detectors that predict boxes or masks from feature maps in one pass, without proposals."""

from collections.abc import Sequence

from mmengine.dist import get_world_size
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.heads.keypoint.base import HeatmapHead
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .base import BaseDetector
from .old_keys import OF_RPN, OF_YOLACT


@MODELS.register_module()
class SingleStageDetector(BaseDetector):
    """Backbone, neck and one dense head.

    Args:
        bbox_head: A dense head: feature maps -> boxes.
        backbone, neck, train_cfg, test_cfg, data_preprocessor, init_cfg: As of ``BaseDetector``.
    """

    def __init__(
        self,
        *,
        bbox_head: dict,
        backbone: dict,
        neck: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(backbone, neck, train_cfg, test_cfg, data_preprocessor, init_cfg)
        self.bbox_head = self.build_head(bbox_head)

    def loss_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> dict:
        return self.bbox_head.loss(x, samples)

    def predict_of_maps(self, x: tuple[Tensor, ...], samples: SampleList, rescale: bool) -> list[InstanceData]:
        return self.bbox_head.predict(x, samples, rescale=rescale)

    def detect_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> list[dict[str, Tensor]]:
        return self.bbox_head.detect_maps(x, [sample.img_shape for sample in samples])

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList | None = None):
        return self.bbox_head(self.extract_feat(batch_inputs))


@MODELS.register_module()
class RetinaNet(SingleStageDetector):
    """Focal Loss for Dense Object Detection, arXiv 1708.02002."""


@MODELS.register_module()
class FCOS(SingleStageDetector):
    """FCOS: Fully Convolutional One-Stage Object Detection, arXiv 1904.01355."""


@MODELS.register_module()
class NASFCOS(SingleStageDetector):
    """NAS-FCOS: Fast Neural Architecture Search for Object Detection, arXiv 1906.04423."""


@MODELS.register_module()
class FSAF(SingleStageDetector):
    """Feature Selective Anchor-Free Module for Single-Shot Object Detection, arXiv 1903.00621."""


@MODELS.register_module()
class FOVEA(SingleStageDetector):
    """FoveaBox: Beyond Anchor-based Object Detector, arXiv 1904.03797."""


@MODELS.register_module()
class AutoAssign(SingleStageDetector):
    """AutoAssign: Differentiable Label Assignment for Dense Object Detection, arXiv 2007.03496."""


@MODELS.register_module()
class ATSS(SingleStageDetector):
    """Adaptive Training Sample Selection, arXiv 1912.02424."""


@MODELS.register_module()
class GFL(SingleStageDetector):
    """Generalized Focal Loss, arXiv 2006.04388."""


@MODELS.register_module()
class VFNet(SingleStageDetector):
    """VarifocalNet, arXiv 2008.13367."""


@MODELS.register_module()
class TOOD(SingleStageDetector):
    """TOOD: Task-aligned One-stage Object Detection, arXiv 2108.07755."""


@MODELS.register_module()
class DDOD(SingleStageDetector):
    """Disentangle Your Dense Object Detector, arXiv 2107.02963."""


@MODELS.register_module()
class PAA(SingleStageDetector):
    """Probabilistic Anchor Assignment with IoU Prediction, arXiv 2007.08103."""


@MODELS.register_module()
class RepPointsDetector(SingleStageDetector):
    """RepPoints: Point Set Representation for Object Detection, arXiv 1904.11490."""


@MODELS.register_module()
class CenterNet(SingleStageDetector):
    """Objects as Points, arXiv 1904.07850."""

    def detect(self, inputs: Tensor, img_shapes: Sequence[tuple[int, int]] | None = None) -> list[dict[str, Tensor]]:
        # the cells of a heatmap are those of the padded image; dense heads clip boxes to the image proper
        return super().detect(inputs, None if isinstance(self.bbox_head, HeatmapHead) else img_shapes)


@MODELS.register_module()
class CornerNet(SingleStageDetector):
    """CornerNet, arXiv 1808.01244; with ``CentripetalHead`` CentripetalNet, arXiv 2003.09119."""


@MODELS.register_module()
class YOLOV3(SingleStageDetector):
    """YOLOv3: An Incremental Improvement, arXiv 1804.02767."""


@MODELS.register_module()
class EfficientDet(SingleStageDetector):
    """EfficientDet: Scalable and Efficient Object Detection, arXiv 1911.09070."""


@MODELS.register_module()
class YOLOF(SingleStageDetector):
    """You Only Look One-level Feature, arXiv 2103.09460."""


@MODELS.register_module()
class YOLOX(SingleStageDetector):
    """YOLOX: Exceeding YOLO Series in 2021, arXiv 2107.08430."""


@MODELS.register_module()
class RTMDet(SingleStageDetector):
    """RTMDet: An Empirical Study of Designing Real-Time Object Detectors, arXiv 2212.07784.

    Args:
        use_syncbn: Make batch norms see the batches of all processes, where there are several.
        bbox_head, backbone, neck, train_cfg, test_cfg, data_preprocessor, init_cfg: As of ``SingleStageDetector``.
    """

    def __init__(
        self,
        *,
        bbox_head: dict,
        backbone: dict,
        neck: dict | None = None,
        use_syncbn: bool = True,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        settings = dict(train_cfg=train_cfg, test_cfg=test_cfg, data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        super().__init__(bbox_head=bbox_head, backbone=backbone, neck=neck, **settings)
        if use_syncbn and get_world_size() > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(self)


@MODELS.register_module()
class RPN(SingleStageDetector):
    """Region proposals as a detector of one class: Faster R-CNN, arXiv 1506.01497.

    Args:
        rpn_head: Feature maps -> proposals.
        train_cfg, test_cfg: Its part ``rpn`` is for the head.
        backbone, neck, data_preprocessor, init_cfg: As of ``BaseDetector``.
    """

    old_keys = OF_RPN

    def __init__(
        self,
        *,
        rpn_head: dict,
        backbone: dict,
        neck: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        own = dict(train_cfg=(train_cfg or {}).get('rpn'), test_cfg=(test_cfg or {}).get('rpn'))
        parts = dict(backbone=backbone, neck=neck, data_preprocessor=data_preprocessor)
        super().__init__(bbox_head=rpn_head, **parts, **own, init_cfg=init_cfg)
        # any dense head may propose, also one that has the dataset's classes elsewhere
        self.bbox_head.predicts_dataset_classes = False


@MODELS.register_module()
class SingleStageInstanceSegmentor(BaseDetector):
    """Backbone, neck, a mask head and, if the masks are of boxes, a dense head.

    Args:
        mask_head: Feature maps and, if there are any, boxes -> masks; None is a ``ValueError``.
        bbox_head: A dense head: feature maps -> boxes; None where masks need none.
        backbone, neck, train_cfg, test_cfg, data_preprocessor, init_cfg: As of ``BaseDetector``.
    """

    def __init__(
        self,
        *,
        backbone: dict,
        neck: dict | None = None,
        mask_head: dict | None = None,
        bbox_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(backbone, neck, train_cfg, test_cfg, data_preprocessor, init_cfg)
        if mask_head is None:
            raise ValueError(f'{type(self).__name__} needs mask_head, the config of what predicts masks; got None')
        self.bbox_head = self.build_head(bbox_head) if bbox_head is not None else None
        self.mask_head = self.build_head(mask_head)

    def loss_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> dict:
        if self.bbox_head is None:
            return self.mask_head.loss(x, samples)
        losses, positives = self.bbox_head.loss_with_positives(x, samples)
        return {**losses, **self.mask_head.loss(x, samples, positives)}

    def predict_of_maps(self, x: tuple[Tensor, ...], samples: SampleList, rescale: bool) -> list[InstanceData]:
        if self.bbox_head is None:
            return self.mask_head.predict(x, samples, rescale)
        boxes = self.bbox_head.predict(x, samples, rescale=rescale)
        return self.mask_head.predict(x, samples, rescale, boxes)

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList | None = None):
        x = self.extract_feat(batch_inputs)
        if self.bbox_head is None:
            return self.mask_head(x)
        # masks are made of these features for the objects that are found, which a graph without samples doesn't know
        return *self.bbox_head(x), self.mask_head.mask_features(x)


@MODELS.register_module()
class SOLO(SingleStageInstanceSegmentor):
    """SOLO: Segmenting Objects by Locations, arXiv 1912.04488."""


@MODELS.register_module()
class SOLOv2(SingleStageInstanceSegmentor):
    """SOLOv2: Dynamic and Fast Instance Segmentation, arXiv 2003.10152."""


@MODELS.register_module()
class CondInst(SingleStageInstanceSegmentor):
    """Conditional Convolutions for Instance Segmentation, arXiv 2003.05664."""


@MODELS.register_module()
class YOLACT(SingleStageInstanceSegmentor):
    """YOLACT: Real-time Instance Segmentation, arXiv 1904.02689."""

    old_keys = OF_YOLACT


@MODELS.register_module()
class BoxInst(SingleStageInstanceSegmentor):
    """BoxInst: High-Performance Instance Segmentation with Box Annotations, arXiv 2012.02310."""
