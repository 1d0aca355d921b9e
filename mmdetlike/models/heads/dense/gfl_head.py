"""Generalized Focal Loss, arXiv 2006.04388; Localization Distillation for Dense Object Detection, arXiv 2102.12252."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmdetlike.models.layers import Scale, build_two_towers
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox_overlaps

from ..common import BINARY_CROSS_ENTROPY, TOWER_NORM, loss_normalizer, rare_classes_init, require_decoded_boxes
from .anchor_free_head import DISTANCE_CODER
from .anchor_head import DEFAULT_ANCHORS, SMOOTH_L1_LOSS, check_one_prior
from .base import DenseHead
from .predictions import DenseTargets, FlatPredictions, LevelTerm, LossTerms, positive_term

DEFAULT_LOSS_DFL = dict(type='DistributionFocalLoss', loss_weight=0.25)
DEFAULT_LOSS_LD = dict(type='KnowledgeDistillationKLDivLoss', loss_weight=0.25, T=10)


class Integral(nn.Module):
    """The mean of a discrete distribution over the integers 0 to ``reg_max``, from its logits."""

    def __init__(self, reg_max: int = 16) -> None:
        super().__init__()
        self.reg_max = reg_max
        # a buffer since it is part of published checkpoints
        self.register_buffer('project', torch.linspace(0, reg_max, reg_max + 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, 4 * (reg_max + 1)) of the four sides -> their distances (n, 4)."""
        probabilities = x.unflatten(-1, (4, self.reg_max + 1)).softmax(-1)
        return probabilities @ self.project.type_as(x)


@MODELS.register_module()
class GFLHead(DenseHead):
    """Predict scores that join class and IoU, and each box side as a distribution over distances from the center.

    Args:
        stacked_convs: Convolutions in each of the two towers.
        conv_cfg, norm_cfg: Convolution and norm layer of the towers.
        anchor_generator: Makes the anchors by which objects are assigned, one at a cell.
        bbox_coder: Encodes boxes against the anchors' centers, in strides.
        reg_decoded_bbox: Must be True: ``loss_bbox`` sees decoded boxes.
        reg_max: The largest distance in strides.
        loss_cls: Classification loss, which takes ``(label, quality)`` as target, as QualityFocalLoss does.
        loss_bbox: Loss of boxes in strides.
        loss_dfl: Loss of the distributions.
        num_classes, in_channels, feat_channels, train_cfg, test_cfg, init_cfg: As of ``DenseHead``.

    Raises:
        ValueError: There is more than one anchor at a cell, or ``reg_decoded_bbox`` is False.
    """

    default_init = rare_classes_init('gfl_cls')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = TOWER_NORM,
        anchor_generator: dict = DEFAULT_ANCHORS,
        bbox_coder: dict = DISTANCE_CODER,
        reg_decoded_bbox: bool = True,
        reg_max: int = 16,
        loss_cls: dict = BINARY_CROSS_ENTROPY,
        loss_bbox: dict = SMOOTH_L1_LOSS,
        loss_dfl: dict = DEFAULT_LOSS_DFL,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        require_decoded_boxes(type(self), reg_decoded_bbox)
        self.stacked_convs, self.reg_max = stacked_convs, reg_max
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        boxes = dict(prior_generator=anchor_generator, bbox_coder=bbox_coder)
        losses = dict(loss_cls=loss_cls, loss_bbox=loss_bbox)
        settings = dict(train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init_cfg)
        super().__init__(num_classes, in_channels, feat_channels, **boxes, **losses, **settings)
        check_one_prior(self)
        self.integral = Integral(reg_max)
        self.loss_dfl = MODELS.build(loss_dfl)

    def build_layers(self) -> None:
        tower = (self.in_channels, self.feat_channels, self.stacked_convs, self.conv_cfg, self.norm_cfg)
        self.cls_convs, self.reg_convs = build_two_towers(*tower)
        self.gfl_cls = self.build_predictor(self.cls_out_channels)
        self.gfl_reg = self.build_predictor(4 * (self.reg_max + 1))
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.prior_generator.strides)

    def predict_maps(self, level: int, cls_feat: Tensor, reg_feat: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes and the logits of four distributions (B, 4 * (reg_max + 1), H, W)."""
        return self.gfl_cls(cls_feat), self.scales[level](self.gfl_reg(reg_feat)).float()

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> LossTerms:
        """``cls`` over all cells, ``bbox`` and ``dfl`` over the positives, one value a level.

        Positives count by their best class probability; boxes are compared in strides.
        """
        # in strides, a level's objects have distances from 0 to `reg_max`, whatever the level
        strides = targets.pos_priors.strides[:, :1]
        points = targets.pos_priors.points / strides
        gt_boxes = targets.pos_gt_bboxes / strides
        logits = preds.bbox_pred.flatten(0, 1)[targets.pos_inds]
        boxes = self.bbox_coder.decode(points, self.integral(logits))
        distances = self.bbox_coder.encode(points, gt_boxes, self.reg_max)
        weight = self.positive_weights(preds, targets)
        weight_sum = loss_normalizer(weight)
        # the IoU is a target here: nothing is to be gained by making boxes worse
        quality = targets.scatter(bbox_overlaps(boxes.detach(), gt_boxes, is_aligned=True))
        class_loss = self.class_term(preds, targets, quality)
        box_loss = positive_term(self.loss_bbox, boxes, gt_boxes, weight, avg_factor=weight_sum)
        # each positive has four distributions, over which the loss is averaged
        sides = logits.unflatten(-1, (4, -1))
        side_loss = side_term(self.loss_dfl, sides, distances, weight, avg_factor=4 * weight_sum)
        return self.losses_by_level(preds, targets, cls=class_loss, bbox=box_loss, dfl=side_loss)

    def positive_weights(self, preds: FlatPredictions, targets: DenseTargets) -> Tensor:
        """Weights (P,) of the positives in the losses of boxes: their best class probabilities."""
        return preds.cls_score.detach().flatten(0, 1)[targets.pos_inds].sigmoid().amax(1)

    def decode(self, preds: FlatPredictions, index: int, inds: Tensor, img_shape: tuple[int, int] | None) -> Tensor:
        priors = preds.priors.of_image(index)[inds]
        distances = self.integral(preds.bbox_pred[index][inds]) * priors.strides[:, :1]
        return self.bbox_coder.decode(priors.points, distances, max_shape=img_shape)


@MODELS.register_module()
class LDHead(GFLHead):
    """A ``GFLHead`` whose distributions of box sides also learn from those of a teacher.

    Args:
        loss_ld: Loss of the distributions against the teacher's.
        num_classes, in_channels, kwargs: As of ``GFLHead``.
    """

    def __init__(self, num_classes: int, in_channels: int, loss_ld: dict = DEFAULT_LOSS_LD, **kwargs) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.loss_ld = MODELS.build(loss_ld)

    def loss_with_teacher(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, teacher_preds: FlatPredictions
    ) -> dict[str, list[Tensor]]:
        """Loss terms as of ``loss``, and ``loss_ld`` against what a teacher predicts at the same priors."""
        preds = self.flatten(self(x))
        targets = self.targets(preds, batch_data_samples)
        terms = self.target_losses(preds, targets, batch_data_samples)
        logits = preds.bbox_pred.flatten(0, 1)[targets.pos_inds].unflatten(-1, (4, -1))
        teacher_logits = teacher_preds.bbox_pred.flatten(0, 1)[targets.pos_inds].unflatten(-1, (4, -1))
        weight = self.positive_weights(preds, targets)
        # averaged over the four sides, but, unlike the other terms, summed over the positives
        teaching = side_term(self.loss_ld, logits, teacher_logits, weight, avg_factor=4)
        return self.named_losses({**terms, **self.losses_by_level(preds, targets, ld=teaching)})


def side_term(loss: nn.Module, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: float | Tensor) -> LevelTerm:
    """The ``loss`` of the four sides of a level's positives, of their rows of all ``pred`` and ``target`` (P, 4, ...).

    Positives count by their ``weight`` (P,).
    """

    def loss_of_sides(rows: slice, pos: Tensor) -> Tensor:
        side_weight = weight[pos].repeat_interleave(4)
        return loss(pred[pos].flatten(0, 1), target[pos].flatten(0, 1), side_weight, avg_factor=avg_factor)

    return loss_of_sides
