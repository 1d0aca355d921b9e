"""Region Proposal by Guided Anchoring, arXiv 1901.03278."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.layers import run_tower
from mmdetlike.models.task_modules import Priors, RegionAssigner
from mmdetlike.registry import MODELS, TASK_UTILS
from mmdetlike.structures import SampleList
from mmdetlike_ops import DeformConv2d

from ..common import FOCAL_LOSS, rare_classes_init
from .anchor_head import DELTA_CODER, AnchorHead, add_approximations
from .predictions import DenseTargets, FlatPredictions, LossTerms, positive_term
from .retina_head import RETINA_ANCHORS, RetinaHead
from .rpn_head import RPNHead

DEFAULT_APPROXS = dict(RETINA_ANCHORS, octave_base_scale=8, strides=[4, 8, 16, 32, 64])
DEFAULT_SQUARES = dict(type='AnchorGenerator', ratios=[1.0], scales=[8], strides=[4, 8, 16, 32, 64])
DEFAULT_LOSS_SHAPE = dict(type='BoundedIoULoss', beta=0.2, loss_weight=1.0)
SHAPE_CLIP = 1e-6  # no bound for practical purposes: anchors may be a million times as large as the squares
BACKGROUND_WEIGHT = 0.1  # of a cell in the loss of locations
CELLS_OF_A_SAMPLE = 200  # the same loss is divided by the cells over this


class FeatureAdaption(nn.Module):
    """Adapt features to the shapes of anchors: a deformable convolution whose offsets follow from each cell's shape."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, deform_groups: int = 4) -> None:
        super().__init__()
        self.conv_offset = nn.Conv2d(2, deform_groups * kernel_size**2 * 2, 1, bias=False)
        self.conv_adaption = DeformConv2d(
            in_channels, out_channels, kernel_size, padding=(kernel_size - 1) // 2, deform_groups=deform_groups
        )

    def forward(self, x: Tensor, shape: Tensor) -> Tensor:
        """Features (B, C, H, W) and shapes (B, 2, H, W), which get no gradient -> features (B, C', H, W)."""
        return self.conv_adaption(x, self.conv_offset(shape.detach())).relu()


@MODELS.register_module()
class GuidedAnchorHead(AnchorHead):
    """Predict where objects are and of which shape, then classes and boxes of anchors of this shape.

    Args:
        approx_anchor_generator: Anchors by whose overlap shapes are assigned, several at a cell.
        square_anchor_generator: Anchors whose shape is predicted, one at a cell.
        anchor_coder: Encodes the shape.
        bbox_coder: Encodes boxes against the anchors that are predicted.
        deform_groups: Groups of channels that are adapted each with offsets of its own.
        loc_filter_thr: In testing, cells are dropped where an object is less probable.
        loss_loc, loss_shape: Losses of locations and of the shapes of anchors.
        kwargs: See ``AnchorHead``. ``train_cfg`` has ``ga_assigner``, ``ga_sampler``, ``center_ratio`` and
            ``ignore_ratio`` too.
    """

    map_names = ('cls_score', 'bbox_pred', 'shape_pred', 'loc_pred')
    default_init = rare_classes_init('conv_loc')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        approx_anchor_generator: dict = DEFAULT_APPROXS,
        square_anchor_generator: dict = DEFAULT_SQUARES,
        anchor_coder: dict = DELTA_CODER,
        bbox_coder: dict = DELTA_CODER,
        deform_groups: int = 4,
        loc_filter_thr: float = 0.01,
        loss_loc: dict = FOCAL_LOSS,
        loss_shape: dict = DEFAULT_LOSS_SHAPE,
        **kwargs,
    ) -> None:
        self.deform_groups, self.loc_filter_thr = deform_groups, loc_filter_thr
        widths = dict(in_channels=in_channels, feat_channels=feat_channels)
        boxes = dict(anchor_generator=square_anchor_generator, bbox_coder=bbox_coder)
        # by name: the next class may be RPNHead, whose order is another
        super().__init__(num_classes=num_classes, **widths, **boxes, **kwargs)
        self.approx_generator = TASK_UTILS.build(approx_anchor_generator)
        self.anchor_coder = TASK_UTILS.build(anchor_coder)
        self.loss_loc = MODELS.build(loss_loc)
        self.loss_shape = MODELS.build(loss_shape)
        if self.train_cfg:
            self.ga_assigner = self.build_assigner(self.train_cfg.ga_assigner)
            self.ga_sampler = TASK_UTILS.build(self.train_cfg.get('ga_sampler') or dict(type='PseudoSampler'))
            self.loc_assigner = RegionAssigner(self.train_cfg.center_ratio, self.train_cfg.ignore_ratio)

    def build_layers(self) -> None:
        self.conv_loc = nn.Conv2d(self.in_channels, 1, 1)
        self.conv_shape = nn.Conv2d(self.in_channels, 2, 1)
        self.feature_adaption = FeatureAdaption(self.in_channels, self.feat_channels, deform_groups=self.deform_groups)
        self.conv_cls = nn.Conv2d(self.feat_channels, self.cls_out_channels, 1)
        self.conv_reg = nn.Conv2d(self.feat_channels, 4, 1)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes, deltas, width and height of the anchor, logit of the location."""
        shape = self.conv_shape(x)
        adapted = self.feature_adaption(x, shape)
        return self.conv_cls(adapted), self.conv_reg(adapted), shape, self.conv_loc(x)

    def flatten(self, outs: Sequence[Sequence[Tensor]], priors: Priors | None = None) -> FlatPredictions:
        """Flatten as ``DenseHead`` does; ``priors`` are squares, those of the result each image's guided anchors."""
        preds = super().flatten(outs, priors)
        # boxes are regressed from these anchors; shapes learn by a loss of their own
        anchors = self.shape_anchors(preds.priors.boxes, preds.shape_pred.detach())
        return replace(preds, priors=preds.priors.moved_to(anchors))

    def shape_anchors(self, squares: Tensor, shapes: Tensor) -> Tensor:
        """Anchors (..., n, 4) of predicted shapes (..., n, 2), with the centers of ``squares`` (n, 4)."""
        deltas = torch.cat([torch.zeros_like(shapes), shapes], dim=-1)
        return self.anchor_coder.decode(squares, deltas, wh_ratio_clip=SHAPE_CLIP)

    def scores(self, preds: FlatPredictions) -> Tensor:
        """Class scores (B, N, C); in testing 0 where there is hardly an object."""
        scores = super().scores(preds)
        # proposals of a training are drawn from all anchors: at first no location is probable
        if self.training:
            return scores
        return scores * (preds.loc_pred.sigmoid() >= self.loc_filter_thr)

    def compute_losses(self, preds: FlatPredictions, samples: SampleList) -> LossTerms:
        """``cls`` and ``bbox`` of the anchors, ``shape`` of the positives' anchors, ``loc`` of all cells, by level."""
        squares = self.priors(preds.featmap_sizes, preds.loc_pred.device)
        targets = self.targets(preds, samples, assigner=self.ga_assigner, priors=squares, sampler=self.ga_sampler)
        shapes = preds.shape_pred.flatten(0, 1)[targets.pos_inds]
        anchors = self.shape_anchors(targets.pos_priors.boxes, shapes)
        locations = replace(preds, maps=dict(cls_score=preds.loc_pred))
        # the losses of locations are those of a class, so they go through the same method
        middles = self.location_targets(targets, samples, squares)
        location_loss = self.class_term(locations, middles, loss_cls=self.loss_loc)
        shape_loss = positive_term(self.loss_shape, anchors, targets.pos_gt_bboxes, avg_factor=targets.avg_factor)
        guiding = self.losses_by_level(preds, targets, shape=shape_loss, loc=location_loss)
        return {**super().compute_losses(preds, samples), **guiding}

    def candidates(self, preds: FlatPredictions, priors: Priors, sample, assigner) -> InstanceData:
        return add_approximations(super().candidates(preds, priors, sample, assigner), self.approx_generator, preds)

    def location_targets(self, targets: DenseTargets, samples: SampleList, squares: Priors) -> DenseTargets:
        """The ``targets`` with labels and weights that say which cells are in the middle of an object."""
        where = dict(points=squares.points, strides=squares.strides, level_ids=squares.level_ids)
        rows = InstanceData(priors=squares.boxes, **where)
        assigned = [self.loc_assigner.assign(rows, self.gt_instances(sample)).gt_inds for sample in samples]
        gt_inds = torch.stack(assigned)
        # the one class is 0, so middles are taught as background: the original does, whose losses these are
        labels = (gt_inds > 0).long()
        weights = torch.where(gt_inds == 0, BACKGROUND_WEIGHT, labels.float())
        return replace(targets, labels=labels, label_weights=weights, avg_factor=gt_inds.numel() / CELLS_OF_A_SAMPLE)


@MODELS.register_module()
class GARPNHead(GuidedAnchorHead, RPNHead):
    """Region proposals from guided anchors; ``num_classes`` must be 1: object or not. See ``GuidedAnchorHead``."""

    def __init__(self, in_channels: int, num_classes: int = 1, **kwargs) -> None:
        super().__init__(num_classes, in_channels, **kwargs)

    def build_layers(self) -> None:
        self.rpn_conv = nn.Conv2d(self.in_channels, self.feat_channels, 3, padding=1)
        super().build_layers()

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        return super().forward_level(level, self.rpn_conv(x).relu())

    def named_losses(self, terms: LossTerms) -> LossTerms:
        names = dict(cls='loss_rpn_cls', bbox='loss_rpn_bbox', shape='rpn_loss_anchor_shape', loc='rpn_loss_anchor_loc')
        return {names[name]: value for name, value in terms.items()}


@MODELS.register_module()
class GARetinaHead(GuidedAnchorHead, RetinaHead):
    """RetinaNet's head with guided anchors: classes and locations from one tower, boxes and shapes from the other."""

    default_init = rare_classes_init('conv_loc', 'retina_cls')

    def build_layers(self) -> None:
        # not by `super()`: the parts of GuidedAnchorHead are made below, in other widths
        RetinaHead.build_layers(self)
        width = self.feat_channels
        self.conv_loc = nn.Conv2d(width, 1, 1)
        self.conv_shape = nn.Conv2d(width, 2, 1)
        self.feature_adaption_cls = FeatureAdaption(width, width, deform_groups=self.deform_groups)
        self.feature_adaption_reg = FeatureAdaption(width, width, deform_groups=self.deform_groups)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        cls_feat = run_tower(self.cls_convs, x)
        reg_feat = run_tower(self.reg_convs, x)
        shape = self.conv_shape(reg_feat)
        cls_score = self.retina_cls(self.feature_adaption_cls(cls_feat, shape))
        deltas = self.retina_reg(self.feature_adaption_reg(reg_feat, shape))
        return cls_score, deltas, shape, self.conv_loc(cls_feat)
