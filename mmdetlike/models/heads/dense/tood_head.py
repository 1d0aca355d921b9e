"""TOOD: Task-aligned One-stage Object Detection, arXiv 2108.07755."""

import torch
import torch.nn.functional as F
from mmengine.model import Sequential, normal_init
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule, Scale, build_tower
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.task_modules.assigners import BaseAssigner
from mmdetlike.models.utils import TrainingProgress
from mmdetlike.registry import MODELS, TASK_UTILS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2distance, distance2bbox, geometry
from mmdetlike_ops import deform_conv2d

from ..common import BINARY_CROSS_ENTROPY, TOWER_NORM, loss_normalizer, rare_classes_init, require_decoded_boxes
from .anchor_head import DEFAULT_ANCHORS, DELTA_CODER, SMOOTH_L1_LOSS, check_one_prior
from .base import DenseHead
from .fcos_head import centerness_target
from .predictions import DenseTargets, FlatPredictions, LevelTerm, LossTerms, positive_term

DEFAULT_INITIAL_LOSS = dict(type='FocalLoss', use_sigmoid=True, activated=True, gamma=2.0, alpha=0.25, loss_weight=1.0)
FIRST_DCN = dict(type='DCNv2', deform_groups=4)


class TaskDecomposition(nn.Module):
    """Make the features of one task from those of all layers, by an attention over layers (TOOD, section 3.1).

    How much a layer counts follows from the means of all layers over the whole map.

    Args:
        feat_channels: Channels of each layer, and put out.
        stacked_convs: Number of layers.
        la_down_rate: How many times fewer channels the attention has inside than the layers together.
        conv_cfg, norm_cfg: Convolution layer, a plain 1x1 one, and norm layer of the reduction.
    """

    def __init__(
        self,
        feat_channels: int,
        stacked_convs: int,
        la_down_rate: int = 8,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        self.feat_channels, self.stacked_convs = feat_channels, stacked_convs
        width = feat_channels * stacked_convs
        self.layer_attention = nn.Sequential(
            nn.Conv2d(width, width // la_down_rate, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width // la_down_rate, stacked_convs, 1),
            nn.Sigmoid(),
        )
        self.reduction_conv = ConvModule(width, feat_channels, 1, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        self.init_weights()

    def init_weights(self) -> None:
        """Small weights, so that all layers count alike at first."""
        normal_init(self.layer_attention[0], std=0.001)
        normal_init(self.layer_attention[2], std=0.001)
        normal_init(self.reduction_conv.conv, std=0.01)

    def forward(self, feat: Tensor, avg_feat: Tensor | None = None) -> Tensor:
        """Layers' maps (B, layers * C, H, W), side by side, and their means (B, layers * C, 1, 1) -> (B, C, H, W)."""
        avg_feat = feat.mean((2, 3), keepdim=True) if avg_feat is None else avg_feat
        attention = self.layer_attention(avg_feat).reshape(len(feat), 1, self.stacked_convs, 1)
        # layers are weighted through the convolution that joins them: it is smaller than they are
        conv = self.reduction_conv.conv
        weight = (attention * conv.weight.reshape(1, -1, self.stacked_convs, self.feat_channels)).flatten(2)
        reduced = (weight @ feat.flatten(2)).unflatten(2, feat.shape[2:])
        if conv.bias is not None:
            reduced = reduced + conv.bias[:, None, None]
        if self.reduction_conv.with_norm:
            reduced = self.reduction_conv.norm(reduced)
        return self.reduction_conv.activate(reduced)


@MODELS.register_module()
class TOODHead(DenseHead):
    """Predict classes and boxes from features of each task, then align both predictions with each other.

    Classes are aligned by a learned probability at each cell, box sides by taking them from cells nearby.

    In the first ``train_cfg.initial_epoch`` epochs (see ``TrainingProgress``) ``train_cfg.initial_assigner`` and
    ``initial_loss_cls`` are at work, then ``train_cfg.assigner``, with exponents ``train_cfg.alpha`` and ``beta``, and
    ``loss_cls``.

    Args:
        feat_channels: Channels of the tower.
        stacked_convs: Convolutions in the tower, which both tasks share.
        conv_cfg, norm_cfg: Convolution and norm layer of the tower.
        num_dcn: How many of the first convolutions of the tower are deformable.
        anchor_type: ``'anchor_free'`` for distances of cells' centers, ``'anchor_based'`` for deltas of anchors.
        anchor_generator: Makes the anchors, one at a cell.
        bbox_coder: Encodes boxes against anchors, with ``anchor_type='anchor_based'``.
        reg_decoded_bbox: Must be True: ``loss_bbox`` sees decoded boxes.
        initial_loss_cls: Classification loss in the first epochs, of probabilities.
        loss_cls: Classification loss after that, which takes probabilities and ``(label, quality)``.
        loss_bbox: Loss of boxes in strides.
        num_classes, in_channels, train_cfg, test_cfg, init_cfg: As of ``DenseHead``.

    Raises:
        ValueError: ``anchor_type`` is unknown, there is more than one anchor at a cell, or ``reg_decoded_bbox`` is
            False.
    """

    default_init = rare_classes_init('tood_cls')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = TOWER_NORM,
        num_dcn: int = 0,
        anchor_type: str = 'anchor_free',
        anchor_generator: dict = DEFAULT_ANCHORS,
        bbox_coder: dict = DELTA_CODER,
        reg_decoded_bbox: bool = True,
        initial_loss_cls: dict = DEFAULT_INITIAL_LOSS,
        loss_cls: dict = BINARY_CROSS_ENTROPY,
        loss_bbox: dict = SMOOTH_L1_LOSS,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if anchor_type not in ('anchor_free', 'anchor_based'):
            raise ValueError(f"anchor_type must be 'anchor_free' or 'anchor_based', got {anchor_type!r}")
        require_decoded_boxes(type(self), reg_decoded_bbox)
        self.stacked_convs, self.num_dcn, self.anchor_type = stacked_convs, num_dcn, anchor_type
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        boxes = dict(prior_generator=anchor_generator, bbox_coder=bbox_coder)
        losses = dict(loss_cls=loss_cls, loss_bbox=loss_bbox)
        settings = dict(train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init_cfg)
        super().__init__(num_classes, in_channels, feat_channels, **boxes, **losses, **settings)
        check_one_prior(self)
        self.initial_loss_cls = MODELS.build(initial_loss_cls)
        if 'initial_assigner' in self.train_cfg:
            self.initial_assigner = TASK_UTILS.build(self.train_cfg.initial_assigner)

    def build_assigner(self, cfg: dict) -> BaseAssigner:
        """The assigner of the later epochs, which measures alignment by the exponents in ``train_cfg``.

        Configs of the toolbox write them there, where its head handed them to the assigner at each call.
        """
        exponents = {name: self.train_cfg[name] for name in ('alpha', 'beta') if name in self.train_cfg}
        return super().build_assigner({**exponents, **cfg})

    def build_layers(self) -> None:
        width = self.feat_channels
        layers = self.stacked_convs
        deformable = min(self.num_dcn, layers)
        first = build_tower(self.in_channels, width, deformable, FIRST_DCN, self.norm_cfg)
        start = width if deformable else self.in_channels
        rest = build_tower(start, width, layers - deformable, self.conv_cfg, self.norm_cfg)
        self.inter_convs = nn.ModuleList([*first, *rest])
        decomposition = dict(la_down_rate=layers * 8, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)
        self.cls_decomp = TaskDecomposition(width, layers, **decomposition)
        self.reg_decomp = TaskDecomposition(width, layers, **decomposition)
        self.tood_cls = nn.Conv2d(width, self.cls_out_channels, 3, padding=1)
        self.tood_reg = nn.Conv2d(width, 4, 3, padding=1)
        self.cls_prob_module = build_alignment(width, layers, 1, dict(std=0.01, bias_prob=0.01))
        self.reg_offset_module = build_alignment(width, layers, 8, dict(std=0.001))
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.prior_generator.strides)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: class probabilities (B, classes, H, W) and boxes (B, 4, H, W) xyxy in strides."""
        layers = []
        for conv in self.inter_convs:
            x = conv(x)
            layers.append(x)
        # both tasks look at the same means: taken once
        feat = torch.cat(layers, 1)
        mean = feat.mean((2, 3), keepdim=True)
        cls_logits = self.tood_cls(self.cls_decomp(feat, mean))
        cls_score = geometric_mean_of_sigmoids(cls_logits.float(), self.cls_prob_module(feat).float())
        boxes = self.cell_boxes(level, self.tood_reg(self.reg_decomp(feat, mean)))
        return cls_score, sample_sides(boxes, self.reg_offset_module(feat).to(boxes.dtype))

    def cell_boxes(self, level: int, regression: Tensor) -> Tensor:
        """Regression of one level -> boxes (B, 4, H, W) xyxy in strides."""
        size = regression.shape[-2:]
        stride = self.prior_generator.strides[level][0]
        anchors = self.prior_generator.single_level_grid_priors(size, level, device=regression.device)
        # distances are positive, deltas are not
        regression = regression.float().exp() if self.anchor_type == 'anchor_free' else regression.float()
        values = self.scales[level](regression).flatten(2).transpose(1, 2)
        if self.anchor_type == 'anchor_free':
            boxes = distance2bbox(geometry.centers(anchors) / stride, values)
        else:
            anchors = anchors.repeat(len(values), 1)
            boxes = self.bbox_coder.decode(anchors, values.flatten(0, 1)).view_as(values) / stride
        return boxes.transpose(1, 2).unflatten(2, size).contiguous()

    def scores(self, preds: FlatPredictions) -> Tensor:
        """Class scores (B, N, C) in [0, 1], which the head predicts as such."""
        return preds.cls_score

    def decode(self, preds: FlatPredictions, index: int, inds: Tensor, img_shape: tuple[int, int] | None) -> Tensor:
        """Boxes of the chosen cells, not clipped, as the paper's authors have it."""
        return preds.bbox_pred[index][inds] * preds.priors.strides[inds, :1]

    def compute_losses(self, preds: FlatPredictions, samples: SampleList) -> LossTerms:
        """``cls`` over all cells and ``bbox``, of boxes in strides, over the positives, one value a level."""
        if TrainingProgress.current().epoch < self.train_cfg.get('initial_epoch', 0):
            return self.initial_losses(preds, self.targets(preds, samples, assigner=self.initial_assigner))
        return self.target_losses(preds, self.targets(preds, samples), samples)

    def initial_losses(self, preds: FlatPredictions, targets: DenseTargets) -> LossTerms:
        """The losses of the first epochs: plain classes, and boxes that count by their centerness."""
        weight = centerness_target(bbox2distance(targets.pos_priors.points, targets.pos_gt_bboxes))
        class_loss = self.class_term(preds, targets, avg_factor=targets.num_pos, loss_cls=self.initial_loss_cls)
        box_loss = self.weighted_box_loss(preds, targets, weight)
        return self.losses_by_level(preds, targets, cls=class_loss, bbox=box_loss)

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> LossTerms:
        """The losses of the later epochs: both tasks count by how well they are aligned."""
        alignment = torch.cat([alignment_of_positives(sampling) for sampling in targets.samplings])
        quality = targets.scatter(alignment)
        class_loss = self.class_term(preds, targets, quality, avg_factor=loss_normalizer(alignment))
        box_loss = self.weighted_box_loss(preds, targets, alignment)
        return self.losses_by_level(preds, targets, cls=class_loss, bbox=box_loss)

    def weighted_box_loss(self, preds: FlatPredictions, targets: DenseTargets, weight: Tensor) -> LevelTerm:
        """The loss of the positives' boxes, in strides, in which each counts by its ``weight`` (P,)."""
        boxes = preds.bbox_pred.flatten(0, 1)[targets.pos_inds]
        gt_boxes = targets.pos_gt_bboxes / targets.pos_priors.strides[:, :1]
        return positive_term(self.loss_bbox, boxes, gt_boxes, weight, avg_factor=loss_normalizer(weight))


def build_alignment(width: int, layers: int, out_channels: int, last_init: dict) -> Sequential:
    """The two convolutions over the features of all layers that predict how one task is to be aligned."""
    return Sequential(
        nn.Conv2d(width * layers, width // 4, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(width // 4, out_channels, 3, padding=1),
        init_cfg=dict(type='Normal', override=dict(type='Normal', name='2', **last_init)),
    )


def geometric_mean_of_sigmoids(x: Tensor, y: Tensor) -> Tensor:
    """``sqrt(sigmoid(x) * sigmoid(y))`` with gradients that stay finite where one of them is 0."""
    # the root of a product that underflows to 0 would have an infinite gradient
    return ((F.logsigmoid(x) + F.logsigmoid(y)) / 2).exp()


def sample_sides(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Let each cell take each side of its box from a point nearby, unless that would turn the box over.

    ``boxes`` (B, 4, H, W) xyxy are interpolated at ``offsets`` (B, 8, H, W) from the cells, y then x for each side, in
    cells.
    """
    # a 1x1 kernel of ones in a group for each side: nothing but bilinear interpolation
    sampled = deform_conv2d(boxes, offsets, boxes.new_ones(4, 1, 1, 1), groups=4, deform_groups=4)
    overturned = (sampled[:, :2] > sampled[:, 2:]).any(1, keepdim=True)
    return torch.where(overturned, boxes, sampled)


def alignment_of_positives(sampling: SamplingResult) -> Tensor:
    """Normalized alignment (p,) of an image's positives: the best of an object has its largest IoU (section 3.2)."""
    objects = sampling.pos_assigned_gt_inds
    metrics = sampling.assign_result.assign_metrics[sampling.pos_inds]
    ious = sampling.assign_result.max_overlaps[sampling.pos_inds]
    zeros = metrics.new_zeros(sampling.assign_result.num_gts)
    best_metric = zeros.scatter_reduce(0, objects, metrics, 'amax')
    best_iou = zeros.scatter_reduce(0, objects, ious, 'amax')
    # the epsilon is that of the authors; an object whose positives are all aligned by 0 has a target of 0
    return metrics / (best_metric[objects] + 1e-7) * best_iou[objects]
