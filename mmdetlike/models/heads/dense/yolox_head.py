"""Head of YOLOX: Exceeding YOLO Series in 2021, arXiv 2107.08430."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.model import bias_init_with_prob
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.layers import conv_class, run_tower
from mmdetlike.models.task_modules import Priors
from mmdetlike.models.task_modules.assigners import BaseAssigner
from mmdetlike.models.utils import TrainingProgress
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList
from mmdetlike.structures.bbox import bbox_cxcywh_to_xyxy, bbox_xyxy_to_cxcywh

from .anchor_free_head import AnchorFreeHead
from .predictions import Candidates, DenseTargets, FlatPredictions

YOLOX_NORM = dict(type='BN', momentum=0.03, eps=0.001)
SWISH = dict(type='Swish')
SUMMED_CROSS_ENTROPY = dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum', loss_weight=1.0)
SUMMED_SQUARED_IOU_LOSS = dict(type='IoULoss', mode='square', eps=1e-16, reduction='sum', loss_weight=5.0)
SUMMED_L1_LOSS = dict(type='L1Loss', reduction='sum', loss_weight=1.0)


@MODELS.register_module()
class YOLOXHead(AnchorFreeHead):
    """Predict classes, a box and objectness of every point, from two towers that each level has for itself.

    Priors are corners of cells; a box is predicted as the offset of its center from the corner, in strides, and the
    logarithm of its size in strides.

    Args:
        use_depthwise: Build the towers of depthwise separable convolutions.
        act_cfg: Activation of the towers.
        loss_obj: Loss of objectness, over all points.
        loss_cls: Loss of classes, over the positives.
        loss_bbox: Loss of decoded boxes, over the positives.
        loss_l1: Loss of boxes as they are predicted, which takes part at the end of the training, when images are no
            longer mixed (see ``YOLOXModeSwitchHook`` and ``TrainingProgress``).
        num_classes, in_channels, stacked_convs, strides, norm_cfg, kwargs: As of ``AnchorFreeHead``.
    """

    map_names = ('cls_score', 'bbox_pred', 'objectness')
    default_init = dict(
        type='Kaiming', layer='Conv2d', a=math.sqrt(5), distribution='uniform', mode='fan_in', nonlinearity='leaky_relu'
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 2,
        strides: Sequence[int] = (8, 16, 32),
        use_depthwise: bool = False,
        norm_cfg: dict | None = YOLOX_NORM,
        act_cfg: dict | None = SWISH,
        loss_cls: dict = SUMMED_CROSS_ENTROPY,
        loss_bbox: dict = SUMMED_SQUARED_IOU_LOSS,
        loss_obj: dict = SUMMED_CROSS_ENTROPY,
        loss_l1: dict = SUMMED_L1_LOSS,
        **kwargs,
    ) -> None:
        self.use_depthwise, self.act_cfg = use_depthwise, act_cfg
        corners = dict(type='MlvlPointGenerator', strides=strides, offset=0)
        parts = dict(prior_generator=corners, norm_cfg=norm_cfg, loss_cls=loss_cls, loss_bbox=loss_bbox)
        super().__init__(num_classes, in_channels, stacked_convs=stacked_convs, strides=strides, **parts, **kwargs)
        self.loss_obj = MODELS.build(loss_obj)
        self.loss_l1 = MODELS.build(loss_l1)

    def build_layers(self) -> None:
        levels = self.strides
        width = self.feat_channels
        self.multi_level_cls_convs = nn.ModuleList(self.build_tower() for _ in levels)
        self.multi_level_reg_convs = nn.ModuleList(self.build_tower() for _ in levels)
        self.multi_level_conv_cls = nn.ModuleList(nn.Conv2d(width, self.num_classes, 1) for _ in levels)
        self.multi_level_conv_reg = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in levels)
        self.multi_level_conv_obj = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in levels)

    def build_tower(self) -> nn.ModuleList:
        return super().build_tower(block=conv_class(self.use_depthwise), act_cfg=self.act_cfg)

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says; classes and objectness begin at a probability of 0.01."""
        super().init_weights()
        for conv in (*self.multi_level_conv_cls, *self.multi_level_conv_obj):
            nn.init.constant_(conv.bias, bias_init_with_prob(0.01))

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes (B, classes, H, W), boxes (B, 4, H, W) and objectness (B, 1, H, W)."""
        cls_feat = run_tower(self.multi_level_cls_convs[level], x)
        reg_feat = run_tower(self.multi_level_reg_convs[level], x)
        return (
            self.multi_level_conv_cls[level](cls_feat),
            self.multi_level_conv_reg[level](reg_feat),
            self.multi_level_conv_obj[level](reg_feat),
        )

    def candidates(
        self, preds: FlatPredictions, priors: Priors, sample: DetDataSample, assigner: BaseAssigner
    ) -> InstanceData:
        """The rows of the assigner, whose points are in the middle of cells; boxes are encoded against corners."""
        rows = super().candidates(preds, priors, sample, assigner)
        rows.points = priors.points + priors.strides / 2
        return rows

    def assignable_predictions(self, preds: FlatPredictions) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4) and scores (N, C), as a geometric mean with objectness."""
        return to_boxes(preds.priors, preds.bbox_pred[0]), self.scores(preds)[0].sqrt()

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> dict[str, Tensor]:
        """``cls`` and ``bbox`` over the positives, ``obj`` over all points; ``l1`` once images are no longer mixed."""
        pos = targets.pos_inds
        pos_priors = targets.pos_priors
        gt_boxes = targets.pos_gt_bboxes
        # soft labels: the class of an object is as sure as its box is good
        quality = targets.pos_overlaps
        classes = F.one_hot(targets.pos_labels, self.num_classes) * quality[:, None]
        objectness = preds.objectness.flatten()[:, None]
        is_object = torch.zeros_like(objectness)
        is_object[pos] = 1
        pos_preds = preds.bbox_pred.flatten(0, 1)[pos]
        terms = dict(
            cls=self.loss_cls(preds.cls_score.flatten(0, 1)[pos], classes),
            bbox=self.loss_bbox(to_boxes(pos_priors, pos_preds), gt_boxes),
            obj=self.loss_obj(objectness, is_object),
        )
        if not TrainingProgress.current().mixes_images:
            terms['l1'] = self.loss_l1(pos_preds, from_boxes(pos_priors, gt_boxes))
        # losses are sums, also that of objectness over all points: one number of positives balances them
        return {name: term / targets.num_pos for name, term in terms.items()}

    def scores(self, preds: FlatPredictions) -> Tensor:
        """Class scores (B, N, C) times objectness."""
        return preds.cls_score.sigmoid() * preds.objectness.sigmoid()

    def find_candidates(self, preds: FlatPredictions, cfg: ConfigDict) -> Candidates:
        """See ``DenseHead``; scores are computed of the points alone that can reach ``score_thr``."""
        if type(self).scores is not YOLOXHead.scores or torch.compiler.is_compiling():
            return super().find_candidates(preds, cfg)
        best = preds.cls_score[0].amax(1).sigmoid() * preds.objectness[0, :, 0].sigmoid()
        rows = (best >= cfg.get('score_thr', 0)).nonzero().squeeze(1)
        few = replace(preds, maps={name: preds.maps[name][:, rows] for name in ('cls_score', 'objectness')})
        candidates = self.select(self.scores(few)[0], [len(rows)], cfg)
        return replace(candidates, prior_inds=rows[candidates.prior_inds])

    def select(self, scores: Tensor, num_priors: list[int], cfg: ConfigDict) -> Candidates:
        """The best class of every prior where its score is at least ``score_thr``."""
        values, labels = scores.max(dim=1)
        inds = (values >= cfg.get('score_thr', 0)).nonzero().squeeze(1)
        return Candidates(values[inds], labels[inds], inds)

    def decode(self, preds: FlatPredictions, index: int, inds: Tensor, img_shape: tuple[int, int] | None) -> Tensor:
        """Boxes of the chosen points; they may leave the image."""
        return to_boxes(preds.priors.of_image(index)[inds], preds.bbox_pred[index][inds])


def to_boxes(priors: Priors, pred: Tensor) -> Tensor:
    """Decode predictions (n, 4) at n priors to boxes (n, 4) xyxy in pixels."""
    centers = pred[:, :2] * priors.strides + priors.points
    sizes = pred[:, 2:].exp() * priors.strides
    return bbox_cxcywh_to_xyxy(torch.cat([centers, sizes], dim=-1))


def from_boxes(priors: Priors, boxes: Tensor) -> Tensor:
    """Encode boxes (n, 4) as what should be predicted at n priors, the inverse of ``to_boxes``."""
    centers, sizes = bbox_xyxy_to_cxcywh(boxes).chunk(2, dim=-1)
    # the logarithm of a box without area stays finite
    return torch.cat([(centers - priors.points) / priors.strides, (sizes / priors.strides + 1e-8).log()], dim=-1)
