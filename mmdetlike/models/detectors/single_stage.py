"""Detectors that predict boxes from pyramid maps at once."""

from mmengine.dist import get_world_size
from torch import Tensor, nn

from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .base import BaseDetector
from .settings import rename_keys, with_cfgs


@MODELS.register_module()
class SingleStageDetector(BaseDetector):
    """Backbone, neck and one dense head.

    Args:
        backbone: Image -> maps.
        neck: Maps -> pyramid, or None.
        bbox_head: Pyramid -> boxes.
        train_cfg: Handed to the head.
        test_cfg: Handed to the head.
        data_preprocessor: Stacks, pads and normalises images.
        init_cfg: Weight initialisation.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        bbox_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck) if neck is not None else None
        self.bbox_head = MODELS.build(with_cfgs(bbox_head, train_cfg, test_cfg))

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """Loss terms of images (B, 3, H, W)."""
        return self.bbox_head.loss(self.extract_feat(batch_inputs), batch_data_samples)

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """The samples with ``pred_instances``, boxes in pixels of the original images unless ``rescale`` is False."""
        results = self.bbox_head.predict(self.extract_feat(batch_inputs), batch_data_samples, rescale=rescale)
        return self.add_pred_to_datasample(batch_data_samples, results)

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList | None = None):
        return self.bbox_head(self.extract_feat(batch_inputs))


@MODELS.register_module()
class RetinaNet(SingleStageDetector):
    """Focal Loss for Dense Object Detection, arXiv 1708.02002."""


@MODELS.register_module()
class FCOS(SingleStageDetector):
    """FCOS: Fully Convolutional One-Stage Object Detection, arXiv 1904.01355."""


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

    def set_epoch(self, epoch: int) -> None:
        """Tell the head which epoch runs, counted from 0: the assignment changes at ``train_cfg.initial_epoch``."""
        self.bbox_head.epoch = epoch


@MODELS.register_module()
class CenterNet(SingleStageDetector):
    """Objects as Points, arXiv 1904.07850."""


@MODELS.register_module()
class YOLOV3(SingleStageDetector):
    """YOLOv3: An Incremental Improvement, arXiv 1804.02767."""


@MODELS.register_module()
class YOLOX(SingleStageDetector):
    """YOLOX: Exceeding YOLO Series in 2021, arXiv 2107.08430."""


@MODELS.register_module()
class RTMDet(SingleStageDetector):
    """RTMDet: An Empirical Study of Designing Real-Time Object Detectors, arXiv 2212.07784.

    Args:
        use_syncbn: Make batch norms see the batches of all processes, where there are several.
        kwargs: See ``SingleStageDetector``; ``backbone`` first, as there.
    """

    def __init__(self, *args, use_syncbn: bool = True, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if use_syncbn and get_world_size() > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(self)


@MODELS.register_module()
class RPN(SingleStageDetector):
    """Region proposals as a detector of one class: Faster R-CNN, arXiv 1506.01497."""

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        rpn_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        head = with_cfgs(rpn_head, train_cfg, test_cfg, 'rpn')
        super().__init__(backbone, neck, head, head.pop('train_cfg'), head.pop('test_cfg'), data_preprocessor, init_cfg)
        # checkpoints of two-stage detectors bring the same head under another name
        self.register_load_state_dict_pre_hook(rename_keys('rpn_head.', 'bbox_head.'))
