"""Classify regions and refine their boxes: Fast R-CNN, arXiv 1504.08083."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmdetlike.models.losses import accuracy
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils import suppress
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS, TASK_UTILS
from mmdetlike.structures.bbox import scale_boxes
from mmdetlike.utils.dist import mean_over_ranks

DEFAULT_CODER = dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])
DEFAULT_LOSS_CLS = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)
DEFAULT_LOSS_BBOX = dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0)


@MODELS.register_module()
class BBoxHead(BaseModule):
    """A linear layer for classes and one for deltas, on pooled region features.

    Args:
        with_avg_pool: Average each region over its cells first.
        with_cls: Build the classifier.
        with_reg: Build the regressor.
        roi_feat_size: Height and width of a region's features.
        in_channels: Their channels.
        num_classes: Classes without background.
        bbox_coder: Encodes boxes against proposals.
        predict_box_type: Kept for configs; ``'hbox'``.
        reg_class_agnostic: One box for all classes in place of one for each.
        reg_decoded_bbox: Apply ``loss_bbox`` to decoded boxes in pixels, as IoU losses need.
        reg_predictor_cfg: Linear layer that regresses.
        cls_predictor_cfg: Linear layer that classifies.
        loss_cls: Classification loss over classes and background.
        loss_bbox: Regression loss.
        init_cfg: Weight initialisation.
    """

    def __init__(
        self,
        with_avg_pool: bool = False,
        with_cls: bool = True,
        with_reg: bool = True,
        roi_feat_size: int | tuple[int, int] = 7,
        in_channels: int = 256,
        num_classes: int = 80,
        bbox_coder: dict = DEFAULT_CODER,
        predict_box_type: str = 'hbox',
        reg_class_agnostic: bool = False,
        reg_decoded_bbox: bool = False,
        reg_predictor_cfg: dict | None = None,
        cls_predictor_cfg: dict | None = None,
        loss_cls: dict = DEFAULT_LOSS_CLS,
        loss_bbox: dict = DEFAULT_LOSS_BBOX,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or self._default_init(with_cls, with_reg))
        if not (with_cls or with_reg):
            raise ValueError('with_cls and with_reg are both False: the head would predict nothing')
        self.with_avg_pool, self.with_cls, self.with_reg = with_avg_pool, with_cls, with_reg
        self.roi_feat_size = _pair(roi_feat_size)
        self.in_channels, self.num_classes = in_channels, num_classes
        self.predict_box_type = predict_box_type
        self.reg_class_agnostic, self.reg_decoded_bbox = reg_class_agnostic, reg_decoded_bbox
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.loss_cls, self.loss_bbox = MODELS.build(loss_cls), MODELS.build(loss_bbox)
        self.reg_predictor_cfg, self.cls_predictor_cfg = reg_predictor_cfg, cls_predictor_cfg
        area = 1 if with_avg_pool else self.roi_feat_size[0] * self.roi_feat_size[1]
        self._build_predictors(in_channels * area, in_channels * area)

    @staticmethod
    def _default_init(with_cls: bool, with_reg: bool) -> list[dict]:
        inits = []
        if with_cls:
            inits.append(dict(type='Normal', std=0.01, override=dict(name='fc_cls')))
        if with_reg:
            inits.append(dict(type='Normal', std=0.001, override=dict(name='fc_reg')))
        return inits

    def _build_predictors(self, cls_in: int, reg_in: int) -> None:
        """(Re)build the last layers for inputs of these widths."""
        if self.with_cls:
            channels = self.num_classes + 1
            if getattr(self.loss_cls, 'custom_cls_channels', False):
                channels = self.loss_cls.get_cls_channels(self.num_classes)
            self.fc_cls = build_linear(self.cls_predictor_cfg, cls_in, channels)
        if self.with_reg:
            boxes = 1 if self.reg_class_agnostic else self.num_classes
            self.fc_reg = build_linear(self.reg_predictor_cfg, reg_in, boxes * self.bbox_coder.encode_size)

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Region features (n, C, h, w) -> class logits (n, num_classes + 1) and deltas (n, 4 * num_classes or 4)."""
        x = x.mean((2, 3)) if self.with_avg_pool else x.flatten(1)
        return self.fc_cls(x) if self.with_cls else None, self.fc_reg(x) if self.with_reg else None

    # -- training ----------------------------------------------------------------------------------------------------

    def loss(
        self, cls_score: Tensor | None, bbox_pred: Tensor | None, samples: Sequence[SamplingResult], cfg: ConfigDict
    ) -> dict[str, Tensor]:
        """Loss terms of sampled regions, the positives of an image before its negatives, image by image.

        Args:
            cls_score: (n, num_classes + 1).
            bbox_pred: (n, 4 * num_classes or 4).
            samples: What was sampled from each image; n regions in all.
            cfg: ``pos_weight`` of ``train_cfg.rcnn``.
        """
        labels, weights, pos_inds = self.classification_targets(samples, cfg.get('pos_weight', -1))
        losses = {}
        device = labels.device
        if cls_score is not None:
            cls_score = float32_if_half(cls_score)[0]
            avg_factor = max(mean_over_ranks(float((weights > 0).sum()), device), 1.0)
            loss = self.loss_cls(cls_score, labels, weights, avg_factor=avg_factor)
            losses.update(loss if isinstance(loss, dict) else dict(loss_cls=loss))
            losses.update(self._accuracy(cls_score, labels))
        if bbox_pred is not None:
            bbox_pred = float32_if_half(bbox_pred)[0]
            avg_factor = max(mean_over_ranks(len(labels), device), 1.0)
            pred = self._boxes_of_class(bbox_pred[pos_inds], labels[pos_inds])
            losses['loss_bbox'] = self.loss_bbox(*self._regression_pair(pred, samples), avg_factor=avg_factor)
        return losses

    def _accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        if getattr(self.loss_cls, 'custom_accuracy', False):
            return self.loss_cls.get_accuracy(cls_score, labels)
        return dict(acc=accuracy(cls_score, labels))

    def classification_targets(
        self, samples: Sequence[SamplingResult], pos_weight: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Labels (n,), weights (n,) and places of the positives (p,) of all sampled regions."""
        labels, is_pos = [], []
        for sample in samples:
            background = sample.neg_inds.new_full((len(sample.neg_inds),), self.num_classes)
            labels += [sample.pos_gt_labels, background]
            is_pos += [torch.ones_like(sample.pos_inds), torch.zeros_like(background)]
        labels, is_pos = torch.cat(labels), torch.cat(is_pos).bool()
        weights = torch.ones(len(labels), device=labels.device)
        if pos_weight > 0:
            weights[is_pos] = pos_weight
        return labels, weights, is_pos.nonzero().squeeze(1)

    def _boxes_of_class(self, bbox_pred: Tensor, labels: Tensor) -> Tensor:
        """The deltas (n, 4) that belong to each region's class."""
        if self.reg_class_agnostic:
            return bbox_pred
        # not -1: there may be no region
        size = self.bbox_coder.encode_size
        boxes = bbox_pred.reshape(len(bbox_pred), bbox_pred.shape[1] // size, size)
        return boxes[torch.arange(len(boxes), device=boxes.device), labels]

    def _regression_pair(self, pred: Tensor, samples: Sequence[SamplingResult]) -> tuple[Tensor, Tensor]:
        priors = torch.cat([sample.pos_priors for sample in samples])
        target = torch.cat([sample.pos_gt_bboxes for sample in samples])
        if self.reg_decoded_bbox:
            return self.bbox_coder.decode(priors, pred), target
        return pred, self.bbox_coder.encode(priors, target)

    # -- testing -----------------------------------------------------------------------------------------------------

    def predict(
        self, rois: Tensor, cls_score: Tensor, bbox_pred: Tensor | None, img_meta: dict, cfg: ConfigDict, rescale: bool
    ) -> InstanceData:
        """Boxes of one image.

        Args:
            rois: (n, 5) image index and xyxy in pixels.
            cls_score: (n, num_classes + 1) logits.
            bbox_pred: (n, 4 * num_classes or 4) deltas, None to keep the regions.
            img_meta: ``img_shape`` and, to rescale, ``scale_factor``.
            cfg: ``score_thr``, ``nms`` and ``max_per_img``.
            rescale: Put out boxes in pixels of the original image.

        Returns:
            ``bboxes`` (k, 4) xyxy, ``scores`` (k,) falling, ``labels`` (k,).
        """
        scores = self.probabilities(float32_if_half(cls_score)[0])[:, :-1]
        roi_inds, labels = (scores > cfg.score_thr).nonzero(as_tuple=True)
        boxes = rois[roi_inds, 1:]
        if bbox_pred is not None:
            deltas = float32_if_half(self._boxes_of_class(bbox_pred[roi_inds], labels))[0]
            boxes = self.bbox_coder.decode(boxes, deltas, max_shape=img_meta['img_shape'])
        if rescale:
            boxes = scale_boxes(boxes, [1 / factor for factor in img_meta['scale_factor']])
        candidates = InstanceData(bboxes=boxes, scores=scores[roi_inds, labels], labels=labels)
        return suppress(candidates, cfg.nms, cfg.max_per_img)

    def probabilities(self, cls_score: Tensor) -> Tensor:
        """Probabilities (n, num_classes + 1), background last, of logits; ``loss_cls`` knows them if it is special."""
        if getattr(self.loss_cls, 'custom_activation', False):
            return self.loss_cls.get_activation(cls_score)
        return F.softmax(cls_score, dim=-1)

    def refine(self, rois: Tensor, bbox_pred: Tensor, labels: Tensor, img_shape: tuple[int, int]) -> Tensor:
        """Boxes (n, 4) of regions (n, 5) moved by the deltas of their class ``labels`` (n,), within the image."""
        deltas = float32_if_half(self._boxes_of_class(bbox_pred, labels))[0]
        return self.bbox_coder.decode(rois[:, 1:], deltas, max_shape=img_shape)


def build_linear(cfg: dict | None, in_features: int, out_features: int) -> nn.Module:
    """A linear layer, ``dict(type='Linear')`` unless a config names another one."""
    cfg = dict(cfg or {})
    if cfg.get('type', 'Linear') == 'Linear':
        cfg.pop('type', None)
        return nn.Linear(in_features, out_features, **cfg)
    return MODELS.build(dict(cfg, in_features=in_features, out_features=out_features))
