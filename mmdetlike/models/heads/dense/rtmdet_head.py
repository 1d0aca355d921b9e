"""RTMDet: An Empirical Study of Designing Real-Time Object Detectors, arXiv 2212.07784."""

from collections.abc import Callable

from mmengine.model import bias_init_with_prob
from torch import Tensor, nn

from mmdetlike.models.layers import Scale, build_tower, conv_class, inverse_sigmoid, run_tower, share_convolutions
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from ..common import TOWER_NORM, loss_normalizer, require_decoded_boxes
from .anchor_free_head import DISTANCE_CODER
from .base import DenseHead
from .predictions import DenseTargets, FlatPredictions, LossTerms, positive_term
from .tood_head import geometric_mean_of_sigmoids

RTMDET_POINTS = dict(type='MlvlPointGenerator', offset=0, strides=[8, 16, 32])
QUALITY_FOCAL_LOSS = dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0)
RTMDET_LOSS_BBOX = dict(type='GIoULoss', loss_weight=2.0)
RELU = dict(type='ReLU')
SEPARATE_BN_NORM = dict(type='BN', momentum=0.03, eps=0.001)
SEPARATE_BN_ACT = dict(type='SiLU')


@MODELS.register_module()
class RTMDetHead(DenseHead):
    """Predict classes and the distances to the box sides of every point; labels are soft, the IoU of the box.

    Args:
        feat_channels: Channels of the towers.
        stacked_convs: Convolutions in each tower.
        conv_cfg, norm_cfg, act_cfg: Convolution, norm layer and activation of the towers.
        pred_kernel_size: Kernel of the convolutions that predict.
        with_objectness: Predict objectness too; classes are its geometric mean with the class score.
        anchor_generator: Makes the points.
        bbox_coder: Encodes boxes against points.
        reg_decoded_bbox: Must be True: ``loss_bbox`` sees decoded boxes.
        loss_cls: Loss of classes, which takes labels and qualities, such as ``QualityFocalLoss``.
        loss_bbox: Loss of boxes in pixels.
        num_classes, in_channels, train_cfg, test_cfg, init_cfg: As of ``DenseHead``.

    Attributes:
        separate_levels: Whether levels have norm layers and predictors of their own, and so need no ``scales``.
        use_depthwise: Whether the towers are made of depthwise separable convolutions.
        initial_biases: The bias with which the layers of these names begin.
    """

    separate_levels = False
    use_depthwise = False
    initial_biases = {'rtm_cls': bias_init_with_prob(0.01), 'rtm_obj': bias_init_with_prob(0.01)}

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = TOWER_NORM,
        act_cfg: dict | None = RELU,
        pred_kernel_size: int = 3,
        with_objectness: bool = True,
        anchor_generator: dict = RTMDET_POINTS,
        bbox_coder: dict = DISTANCE_CODER,
        reg_decoded_bbox: bool = True,
        loss_cls: dict = QUALITY_FOCAL_LOSS,
        loss_bbox: dict = RTMDET_LOSS_BBOX,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        require_decoded_boxes(type(self), reg_decoded_bbox)
        self.stacked_convs, self.pred_kernel_size = stacked_convs, pred_kernel_size
        self.conv_cfg, self.norm_cfg, self.act_cfg = conv_cfg, norm_cfg, act_cfg
        self.with_objectness = with_objectness
        boxes = dict(prior_generator=anchor_generator, bbox_coder=bbox_coder)
        losses = dict(loss_cls=loss_cls, loss_bbox=loss_bbox)
        settings = dict(train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init_cfg)
        super().__init__(num_classes, in_channels, feat_channels, **boxes, **losses, **settings)

    def build_layers(self) -> None:
        self.build_towers()
        self.rtm_cls = self.build_predictors(self.cls_out_channels)
        self.rtm_reg = self.build_predictors(4)
        if self.with_objectness:
            self.rtm_obj = self.build_predictors(1)
        if not self.separate_levels:
            self.scales = nn.ModuleList(Scale(1.0) for _ in self.prior_generator.strides)

    def build_towers(self) -> None:
        """Make the towers of classes and of boxes."""
        self.cls_convs = self.for_levels(self.build_tower)
        self.reg_convs = self.for_levels(self.build_tower)

    def build_tower(self) -> nn.ModuleList:
        """The convolutions before a predictor."""
        widths = self.in_channels, self.feat_channels, self.stacked_convs
        block = conv_class(self.use_depthwise)
        return build_tower(*widths, self.conv_cfg, self.norm_cfg, block=block, act_cfg=self.act_cfg)

    def build_predictors(self, channels: int) -> nn.Module:
        """``build_predictor`` for all levels or for each."""
        return self.for_levels(lambda: self.build_predictor(channels, self.pred_kernel_size))

    def for_levels(self, make: Callable[[], nn.Module]) -> nn.Module:
        """The layers that ``make`` makes: the same for all levels, or a list of each level's own."""
        if not self.separate_levels:
            return make()
        return nn.ModuleList(make() for _ in self.prior_generator.strides)

    def at_level(self, layers: nn.Module, level: int) -> nn.Module:
        """The layers of one level, from ``for_levels``."""
        return layers[level] if self.separate_levels else layers

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says; classes and objectness begin at a probability of 0.01."""
        super().init_weights()
        for name, module in self.named_modules():
            # the attribute itself, or its items where each level has its own
            bias = self.initial_biases.get(name.split('.')[0])
            if bias is not None and isinstance(module, nn.Conv2d):
                nn.init.constant_(module.bias, bias)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes (B, classes, H, W) and distances in pixels (B, 4, H, W)."""
        cls_feat = reg_feat = run_tower(self.at_level(self.cls_convs, level), x)
        # heads whose tasks share a tower run it once
        if self.reg_convs is not self.cls_convs:
            reg_feat = run_tower(self.at_level(self.reg_convs, level), x)
        cls_score = self.at_level(self.rtm_cls, level)(cls_feat)
        if self.with_objectness:
            cls_score = join_objectness(cls_score, self.at_level(self.rtm_obj, level)(reg_feat))
        return cls_score, self.distances(level, self.at_level(self.rtm_reg, level)(reg_feat))

    def distances(self, level: int, raw: Tensor) -> Tensor:
        """Distances (B, 4, H, W) in pixels from what the convolution puts out at a level, ``raw`` (B, 4, H, W)."""
        return self.scales[level](raw.exp()).float() * self.prior_generator.strides[level][0]

    def assignable_predictions(self, preds: FlatPredictions) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4) and logits (N, C): ``DynamicSoftLabelAssigner`` takes logits."""
        boxes = self.bbox_coder.decode(preds.priors.points, preds.bbox_pred[0])
        return boxes, preds.cls_score[0]

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> LossTerms:
        """``cls`` over all points, ``bbox`` over the positives, one value a level; both weigh positives by overlap."""
        # the assigner has measured the overlaps of these very predictions
        overlaps = targets.pos_overlaps
        quality = targets.scatter(overlaps)
        factor = loss_normalizer(overlaps)
        boxes = self.bbox_coder.decode(targets.pos_priors.points, preds.bbox_pred.flatten(0, 1)[targets.pos_inds])
        class_loss = self.class_term(preds, targets, quality, avg_factor=factor)
        box_loss = positive_term(self.loss_bbox, boxes, targets.pos_gt_bboxes, overlaps, avg_factor=factor)
        return self.losses_by_level(preds, targets, cls=class_loss, bbox=box_loss)


@MODELS.register_module()
class RTMDetSepBNHead(RTMDetHead):
    """An ``RTMDetHead`` whose levels have norm layers and predictors of their own.

    Args:
        share_conv: Levels share the convolutions of their towers.
        use_depthwise: Build the towers of depthwise separable convolutions.
        exp_on_reg: Predict the logarithm of distances.
        num_classes, in_channels, norm_cfg, act_cfg, pred_kernel_size, kwargs: As of ``RTMDetHead``.
    """

    separate_levels = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        share_conv: bool = True,
        use_depthwise: bool = False,
        norm_cfg: dict | None = SEPARATE_BN_NORM,
        act_cfg: dict | None = SEPARATE_BN_ACT,
        pred_kernel_size: int = 1,
        exp_on_reg: bool = False,
        **kwargs,
    ) -> None:
        self.share_conv, self.use_depthwise, self.exp_on_reg = share_conv, use_depthwise, exp_on_reg
        layers = dict(norm_cfg=norm_cfg, act_cfg=act_cfg, pred_kernel_size=pred_kernel_size)
        super().__init__(num_classes, in_channels, **layers, **kwargs)

    def build_towers(self) -> None:
        super().build_towers()
        if self.share_conv:
            share_convolutions(self.cls_convs)
            share_convolutions(self.reg_convs)

    def distances(self, level: int, raw: Tensor) -> Tensor:
        raw = raw.float()
        return (raw.exp() if self.exp_on_reg else raw) * self.prior_generator.strides[level][0]


def join_objectness(cls_score: Tensor, objectness: Tensor) -> Tensor:
    """Logits (B, C, H, W) of the geometric mean of two probabilities, from logits (B, C, H, W) and (B, 1, H, W)."""
    return inverse_sigmoid(geometric_mean_of_sigmoids(cls_score.float(), objectness.float()))
