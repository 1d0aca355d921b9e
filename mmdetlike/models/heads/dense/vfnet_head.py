"""VarifocalNet: An IoU-aware Dense Object Detector, arXiv 2008.13367."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule, Scale
from mmdetlike.models.task_modules import PointRangeAssigner
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox_overlaps
from mmdetlike_ops import DeformConv2d

from ..common import (
    FOCAL_LOSS,
    TOWER_NORM,
    loss_normalizer,
    notice_unused_assigner,
    rare_classes_init,
    require_decoded_boxes,
)
from .anchor_free_head import REGRESS_RANGES, AnchorFreeHead
from .anchor_head import check_one_prior
from .predictions import DenseTargets, FlatPredictions
from .retina_head import RETINA_ANCHORS

VARIFOCAL_LOSS = dict(type='VarifocalLoss', use_sigmoid=True, alpha=0.75, gamma=2.0, iou_weighted=True)
VFNET_ANCHORS = dict(RETINA_ANCHORS, octave_base_scale=8, scales_per_octave=1, ratios=[1.0], center_offset=0.0)
LEAST_IOU = 1e-6  # a positive that misses its object is still no background, and sums of weights are above 0


@MODELS.register_module()
class VFNetHead(AnchorFreeHead):
    """Predict boxes, then refined boxes and IoU-aware scores by the features at nine points of the first boxes.

    Args:
        regress_ranges: For each level the range of an object's largest distance from a point, in pixels, without
            ``use_atss``; the upper end is also the unit of distances with ``bbox_norm_type='reg_denom'``, twice the
            last but one in the last.
        center_sampling: Without ``use_atss``, take points near the center of an object alone.
        center_sample_radius: How near, in strides.
        sync_num_pos: Divide the classification loss by the positives averaged over processes, not by one's own.
        gradient_mul: Share of the gradient that the first boxes receive through the nine points.
        bbox_norm_type: Unit of the predicted distances, ``'reg_denom'`` or ``'stride'``.
        use_vfl: Train classes towards the IoU of the refined boxes with ``loss_cls``, else to 1 with ``loss_cls_fl``.
        loss_cls, loss_cls_fl: Classification losses with and without ``use_vfl``.
        loss_bbox, loss_bbox_refine: Losses of the first and of the refined boxes.
        use_atss: Assign by the anchors and ``train_cfg.assigner``; else as FCOS does, with points amid their cells.
        reg_decoded_bbox: Must be True: losses see decoded boxes.
        anchor_generator: Anchors to assign by, one at a cell; their centers are the points.
        num_classes, in_channels, norm_cfg, kwargs: As of ``AnchorFreeHead``.

    Raises:
        ValueError: An argument has none of the values named.
    """

    # boxes are decoded of `bbox_pred`, as in any head: of the refined distances
    map_names = ('cls_score', 'first_bbox_pred', 'bbox_pred')
    default_init = rare_classes_init('vfnet_cls')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        regress_ranges: Sequence[tuple[float, float]] = REGRESS_RANGES,
        center_sampling: bool = False,
        center_sample_radius: float = 1.5,
        sync_num_pos: bool = True,
        gradient_mul: float = 0.1,
        bbox_norm_type: str = 'reg_denom',
        loss_cls_fl: dict = FOCAL_LOSS,
        use_vfl: bool = True,
        loss_cls: dict = VARIFOCAL_LOSS,
        loss_bbox: dict = dict(type='GIoULoss', loss_weight=1.5),  # noqa: B006
        loss_bbox_refine: dict = dict(type='GIoULoss', loss_weight=2.0),  # noqa: B006
        norm_cfg: dict | None = TOWER_NORM,
        use_atss: bool = True,
        reg_decoded_bbox: bool = True,
        anchor_generator: dict = VFNET_ANCHORS,
        **kwargs,
    ) -> None:
        if bbox_norm_type not in ('reg_denom', 'stride'):
            raise ValueError(f"bbox_norm_type must be 'reg_denom' or 'stride', got {bbox_norm_type!r}")
        require_decoded_boxes(type(self), reg_decoded_bbox)
        self.use_vfl, self.use_atss = use_vfl, use_atss
        losses = dict(loss_cls=loss_cls if use_vfl else loss_cls_fl, loss_bbox=loss_bbox)
        anchors = anchor_generator if use_atss else None
        super().__init__(num_classes, in_channels, norm_cfg=norm_cfg, prior_generator=anchors, **losses, **kwargs)
        self.loss_bbox_refine = MODELS.build(loss_bbox_refine)
        self.sync_num_pos, self.gradient_mul = sync_num_pos, gradient_mul
        # the last range has no real end: the unit goes on doubling from level to level
        tops = [high for _, high in regress_ranges]
        self.units = list(self.strides) if bbox_norm_type == 'stride' else [*tops[:-1], tops[-2] * 2]
        if use_atss:
            check_one_prior(self)
        else:
            notice_unused_assigner(type(self), self.train_cfg, 'regress_ranges, as use_atss=False says')
            self.assigner = PointRangeAssigner(regress_ranges, center_sample_radius if center_sampling else None)

    @property
    def assigns_padding(self) -> bool:
        """Whether priors on padding may be assigned: points may, anchors may not."""
        return not self.use_atss

    def build_layers(self) -> None:
        width = self.feat_channels
        self.cls_convs = self.build_tower()
        self.reg_convs = self.build_tower()
        norm = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, bias=self.conv_bias)
        self.vfnet_reg_conv = ConvModule(width, width, 3, padding=1, **norm)
        self.vfnet_reg = nn.Conv2d(width, 4, 3, padding=1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.strides)
        self.vfnet_reg_refine_dconv = DeformConv2d(width, width, 3, padding=1)
        self.vfnet_reg_refine = nn.Conv2d(width, 4, 3, padding=1)
        self.scales_refine = nn.ModuleList(Scale(1.0) for _ in self.strides)
        self.vfnet_cls_dconv = DeformConv2d(width, width, 3, padding=1)
        self.vfnet_cls = nn.Conv2d(width, self.cls_out_channels, 3, padding=1)

    def predict_maps(self, level: int, cls_feat: Tensor, reg_feat: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes, distances in pixels and the same refined."""
        distances = self.scales[level](self.vfnet_reg(self.vfnet_reg_conv(reg_feat))).float().exp() * self.units[level]
        offset = star_offsets(distances / self.strides[level], self.gradient_mul).to(reg_feat.dtype)
        reg_feat = self.vfnet_reg_refine_dconv(reg_feat, offset).relu()
        factors = self.scales_refine[level](self.vfnet_reg_refine(reg_feat)).float().exp()
        cls_feat = self.vfnet_cls_dconv(cls_feat, offset).relu()
        # the refinement is a factor of the first distances, which learn by a loss of their own
        return self.vfnet_cls(cls_feat), distances, factors * distances.detach()

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> dict[str, Tensor]:
        """``cls`` over all points, ``bbox`` and, of refined boxes, ``bbox_rf`` over the positives."""
        points = targets.pos_priors.points
        gt_boxes = targets.pos_gt_bboxes
        boxes = self.bbox_coder.decode(points, preds.first_bbox_pred.flatten(0, 1)[targets.pos_inds])
        refined_boxes = self.bbox_coder.decode(points, preds.bbox_pred.flatten(0, 1)[targets.pos_inds])
        ious = bbox_overlaps(refined_boxes.detach(), gt_boxes, is_aligned=True).clamp(min=LEAST_IOU)
        return dict(
            cls=self.iou_aware_class_loss(preds, targets, ious),
            bbox=box_loss(self.loss_bbox, boxes, gt_boxes),
            bbox_rf=box_loss(self.loss_bbox_refine, refined_boxes, gt_boxes),
        )

    def iou_aware_class_loss(self, preds: FlatPredictions, targets: DenseTargets, ious: Tensor) -> Tensor:
        """Classification loss of all points, where ``ious`` (P,) are those of the positives' refined boxes."""
        count = targets.num_pos if self.sync_num_pos else max(len(targets.pos_inds), 1)
        if not self.use_vfl:
            return self.class_loss(preds, targets, slice(None), avg_factor=count)
        cls_score = preds.cls_score.flatten(0, 1)
        quality = torch.zeros_like(cls_score)
        quality[targets.pos_inds, targets.pos_labels] = ious
        return self.loss_cls(cls_score, quality, avg_factor=count)


def star_offsets(distances: Tensor, gradient_mul: float) -> Tensor:
    """Offsets of a 3x3 deformable convolution to the star-shaped points of a box: corners, middles of sides, center.

    They are (B, 18, H, W), in cells: of the nine taps, row by row, y then x. ``distances`` (B, 4, H, W) are those of
    each cell to the left, top, right and bottom side of its box, in cells; they get the share ``gradient_mul`` of the
    gradient.
    """
    distances = (1 - gradient_mul) * distances.detach() + gradient_mul * distances
    left, top, right, bottom = distances.unbind(1)
    zero = torch.zeros_like(left)
    taps = [(y, x) for y in (-top, zero, bottom) for x in (-left, zero, right)]
    grid = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    # a deformable convolution takes offsets from its regular taps
    offsets = [at - regular for tap, cell in zip(taps, grid) for at, regular in zip(tap, cell)]
    return torch.stack(offsets, dim=1)


def box_loss(loss_bbox: nn.Module, boxes: Tensor, gt_boxes: Tensor) -> Tensor:
    """Loss of decoded boxes (P, 4), in which each counts by its IoU."""
    weight = bbox_overlaps(boxes.detach(), gt_boxes, is_aligned=True).clamp(min=LEAST_IOU)
    return loss_bbox(boxes, gt_boxes, weight, avg_factor=loss_normalizer(weight))
