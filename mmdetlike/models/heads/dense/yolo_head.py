"""Head of YOLOv3: An Incremental Improvement, arXiv 1804.02767."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.model import bias_init_with_prob
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule
from mmdetlike.models.task_modules import Priors
from mmdetlike.models.task_modules.assigners import BaseAssigner
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList
from mmdetlike.structures.bbox import get_box_tensor

from ..common import BATCH_NORM, BINARY_CROSS_ENTROPY
from .base import DenseHead
from .predictions import Candidates, DenseTargets, FlatPredictions, LossTerms

YOLO_ANCHORS = dict(
    type='YOLOAnchorGenerator',
    base_sizes=[[(116, 90), (156, 198), (373, 326)], [(30, 61), (62, 45), (59, 119)], [(10, 13), (16, 30), (33, 23)]],
    strides=[32, 16, 8],
)
YOLO_CODER = dict(type='YOLOBBoxCoder')
LEAKY_RELU = dict(type='LeakyReLU', negative_slope=0.1)
SQUARED_ERROR = dict(type='MSELoss', loss_weight=1.0)


@MODELS.register_module()
class YOLOV3Head(DenseHead):
    """Predict one vector for each anchor: x, y in the cell, log-scaled w, h, objectness and a logit for each class.

    Args:
        in_channels: Channels of each level's feature map, coarse to fine.
        out_channels: Channels before each predicting convolution.
        anchor_generator: Makes the anchors.
        bbox_coder: Encodes boxes against anchors.
        featmap_strides: Stride of each feature map in pixels.
        one_hot_smoother: Share of each class target that is spread over all classes.
        conv_cfg, norm_cfg, act_cfg: Convolution, norm layer and activation.
        loss_cls, loss_xy, loss_wh: Losses of classes, offsets in the cell and growth, over the positives.
        loss_conf: Loss of objectness, over positives and negatives.
        num_classes, train_cfg, init_cfg: As of ``DenseHead``.
        test_cfg: Settings of ``DenseHead``, and ``conf_thr``, the least objectness; ``nms_pre`` counts candidates of
            all levels together.

    Raises:
        ValueError: Channels, strides and anchors differ in number of levels.
    """

    map_names = ('pred_map',)
    default_init = dict(type='Normal', std=0.01, override=dict(name='convs_pred'))

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        out_channels: Sequence[int] = (1024, 512, 256),
        anchor_generator: dict = YOLO_ANCHORS,
        bbox_coder: dict = YOLO_CODER,
        featmap_strides: Sequence[int] = (32, 16, 8),
        one_hot_smoother: float = 0.0,
        conv_cfg: dict | None = None,
        norm_cfg: dict = BATCH_NORM,
        act_cfg: dict = LEAKY_RELU,
        loss_cls: dict = BINARY_CROSS_ENTROPY,
        loss_conf: dict = BINARY_CROSS_ENTROPY,
        loss_xy: dict = BINARY_CROSS_ENTROPY,
        loss_wh: dict = SQUARED_ERROR,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        self.num_attrib = 5 + num_classes  # x, y, w, h, objectness
        self.out_channels = out_channels
        self.one_hot_smoother = one_hot_smoother
        self.featmap_strides = list(featmap_strides)
        self.common = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        boxes = dict(prior_generator=anchor_generator, bbox_coder=bbox_coder)
        settings = dict(train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init_cfg)
        super().__init__(num_classes, in_channels, **boxes, loss_cls=loss_cls, **settings)
        self.loss_conf = MODELS.build(loss_conf)
        self.loss_xy = MODELS.build(loss_xy)
        self.loss_wh = MODELS.build(loss_wh)

    def build_layers(self) -> None:
        counts = dict(
            in_channels=len(self.in_channels),
            out_channels=len(self.out_channels),
            featmap_strides=len(self.featmap_strides),
            anchor_generator=self.prior_generator.num_levels,
        )
        if len(set(counts.values())) > 1:
            raise ValueError(f'all must have the same number of levels, got {counts}')
        self.convs_bridge = nn.ModuleList(
            ConvModule(a, b, 3, padding=1, **self.common) for a, b in zip(self.in_channels, self.out_channels)
        )
        self.convs_pred = nn.ModuleList(
            nn.Conv2d(c, anchors * self.num_attrib, 1)
            for c, anchors in zip(self.out_channels, self.prior_generator.num_base_priors)
        )

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says; objectness begins as of 8 objects in 608 x 608 pixels, classes at 0.01."""
        super().init_weights()
        for conv, stride, anchors in zip(self.convs_pred, self.featmap_strides, self.prior_generator.num_base_priors):
            bias = conv.bias.detach().view(anchors, -1)  # shares its memory
            bias[:, 4] = bias_init_with_prob(8 / (608 / stride) ** 2)
            bias[:, 5:] = bias_init_with_prob(0.01)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The map of one level, (B, A * (5 + classes), H, W)."""
        return (self.convs_pred[level](self.convs_bridge[level](x)),)

    def candidates(
        self, preds: FlatPredictions, priors: Priors, sample: DetDataSample, assigner: BaseAssigner
    ) -> InstanceData:
        """The rows of the assigner, with ``responsible_flags`` of the anchors in the cell of an object's center."""
        rows = super().candidates(preds, priors, sample, assigner)
        boxes = get_box_tensor(self.gt_instances(sample).bboxes)
        flags = self.prior_generator.responsible_flags(preds.featmap_sizes, boxes, boxes.device)
        rows.responsible_flags = torch.cat(flags)
        return rows

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> LossTerms:
        """``cls``, ``conf``, ``xy`` and ``wh``, one value a level."""
        positive = preds.pred_map.flatten(0, 1)[targets.pos_inds]
        one_hot = F.one_hot(targets.pos_labels, self.num_classes).float()
        classes = one_hot * (1 - self.one_hot_smoother) + self.one_hot_smoother / self.num_classes
        terms = dict(cls=[], conf=[], xy=[], wh=[])
        # level by level, as the coder takes the stride of a level
        for (rows, pos), stride in zip(preds.levels(targets.pos_inds), self.featmap_strides):
            boxes = self.bbox_coder.encode(targets.pos_priors.boxes[pos], targets.pos_gt_bboxes[pos], stride)
            objectness = preds.pred_map[:, rows, 4]
            labels = targets.labels[:, rows]
            is_object = (labels < self.num_classes).to(objectness.dtype)
            terms['conf'].append(self.loss_conf(objectness, is_object, targets.label_weights[:, rows]))
            count = labels.numel()
            terms['cls'].append(_of_positives(self.loss_cls, positive[pos, 5:], classes[pos], count))
            terms['xy'].append(_of_positives(self.loss_xy, positive[pos, :2], boxes[:, :2], count))
            terms['wh'].append(_of_positives(self.loss_wh, positive[pos, 2:4], boxes[:, 2:], count))
        return terms

    def scores(self, preds: FlatPredictions) -> Tensor:
        """Class scores (B, N, C), not yet multiplied by objectness, -1 where that is below ``conf_thr``."""
        scores = preds.pred_map[..., 5:].sigmoid()
        # below any threshold: such anchors don't even become candidates
        is_nothing = self.score_factors(preds) < self.test_cfg.get('conf_thr', -1)
        return scores.masked_fill(is_nothing[..., None], -1)

    def score_factors(self, preds: FlatPredictions) -> Tensor:
        """Objectness (B, N)."""
        return preds.pred_map[..., 4].sigmoid()

    def select(self, scores: Tensor, num_priors: list[int], cfg: ConfigDict) -> Candidates:
        """The ``nms_pre`` best (prior, class) pairs of all levels together above ``score_thr``."""
        return super().select(scores, [sum(num_priors)], cfg)

    def decode(self, preds: FlatPredictions, index: int, inds: Tensor, img_shape: tuple[int, int] | None) -> Tensor:
        """Boxes of the chosen anchors; they may leave the image."""
        priors = preds.priors.of_image(index)[inds]
        pred = preds.pred_map[index][inds]
        pred = torch.cat([pred[:, :2].sigmoid(), pred[:, 2:4]], dim=-1)
        return self.bbox_coder.decode(priors.boxes, pred, priors.strides[:, 0])


def _of_positives(loss: nn.Module, pred: Tensor, target: Tensor, count: int) -> Tensor:
    """``loss`` of positives alone, reduced as if all ``count`` priors took part and the others had weight 0."""
    # a loss that sums up, as configs of YOLOv3 have it, needs no number of priors
    averaged = dict(avg_factor=count * target.shape[1]) if loss.reduction == 'mean' else {}
    return loss(pred, target, **averaged)
