"""RTMDet: An Empirical Study of Designing Real-Time Object Detectors, arXiv 2212.07784."""

import torch
import torch.nn.functional as F
from mmengine.model import bias_init_with_prob
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.layers import ConvModule, DepthwiseSeparableConvModule, Scale, inverse_sigmoid
from mmdetlike.models.layers.tower import run_tower, share_convolutions
from mmdetlike.registry import MODELS

from ..common import loss_normalizer
from .anchor_free_head import DEFAULT_CODER
from .anchor_head import AnchorHead
from .atss_head import ATSSHead
from .base import DenseTargets, FlatPredictions

DEFAULT_POINTS = dict(type='MlvlPointGenerator', offset=0, strides=[8, 16, 32])
DEFAULT_LOSS_CLS = dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0)
DEFAULT_LOSS_BBOX = dict(type='GIoULoss', loss_weight=2.0)
DEFAULT_ACT = dict(type='ReLU')
SEP_BN_NORM = dict(type='BN', momentum=0.03, eps=0.001)
SEP_BN_ACT = dict(type='SiLU')


@MODELS.register_module()
class RTMDetHead(ATSSHead):
    """Classes and distances of every point, trained on soft labels.

    Priors are points with the strides of their level, (N, 4).

    Args:
        with_objectness: Predict objectness too; classes are its geometric mean with the class score.
        act_cfg: Activation of the towers.
        loss_cls: Loss of classes, which takes labels and qualities, such as ``QualityFocalLoss``.
        kwargs: See ``ATSSHead``.
    """

    map_names = ('cls_score', 'bbox_pred')
    prior_options = dict(with_stride=True)
    initial_biases = {'rtm_cls': bias_init_with_prob(0.01), 'rtm_obj': bias_init_with_prob(0.01)}
    default_init = AnchorHead.default_init

    def __init__(
        self,
        *args,
        with_objectness: bool = True,
        act_cfg: dict | None = DEFAULT_ACT,
        anchor_generator: dict = DEFAULT_POINTS,
        bbox_coder: dict = DEFAULT_CODER,
        loss_cls: dict = DEFAULT_LOSS_CLS,
        loss_bbox: dict = DEFAULT_LOSS_BBOX,
        **kwargs,
    ) -> None:
        self.with_objectness, self.act_cfg = with_objectness, act_cfg
        parts = dict(anchor_generator=anchor_generator, bbox_coder=bbox_coder, loss_cls=loss_cls, loss_bbox=loss_bbox)
        super().__init__(*args, **parts, **kwargs)
        del self.loss_centerness

    def _init_layers(self) -> None:
        self.cls_convs, self.reg_convs = self._tower(), self._tower()
        self.rtm_cls = self._predictors(self.cls_out_channels)
        self.rtm_reg = self._predictors(4)
        if self.with_objectness:
            self.rtm_obj = self._predictors(1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.prior_generator.strides)

    def _tower(self, **options) -> nn.ModuleList:
        return super()._tower(act_cfg=self.act_cfg, **options)

    def _separate_towers(self) -> nn.ModuleList:
        """Layers that share nothing, with other towers or between levels that have layers of their own."""
        return self._tower()

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says; classes and objectness begin at a probability of 0.01."""
        super().init_weights()
        for name, bias in self.initial_biases.items():
            for module in getattr(self, name, nn.Module()).modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.constant_(module.bias, bias)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes (B, classes, H, W) and distances in pixels (B, 4, H, W)."""
        cls_feat = reg_feat = run_tower(self.at_level(self.cls_convs, level), x)
        if self.reg_convs is not self.cls_convs:
            reg_feat = run_tower(self.at_level(self.reg_convs, level), x)
        cls_score = self.at_level(self.rtm_cls, level)(cls_feat)
        if self.with_objectness:
            cls_score = with_objectness(cls_score, self.at_level(self.rtm_obj, level)(reg_feat))
        return cls_score, self.distances(level, self.at_level(self.rtm_reg, level)(reg_feat))

    def distances(self, level: int, raw: Tensor) -> Tensor:
        """Distances in pixels of what is predicted."""
        return self.scales[level](raw.exp()).float() * self.prior_generator.strides[level][0]

    def predicted_instances(self, preds: FlatPredictions, priors: Tensor, index: int) -> InstanceData:
        """What the assigner sees: points, boxes (N, 4) and logits (N, C)."""
        boxes = self.bbox_coder.decode(self.coded(priors), preds.bbox_pred[index])
        return InstanceData(priors=priors, bboxes=boxes, scores=preds.cls_score[index])

    def losses(self, preds: FlatPredictions, priors: Tensor, targets: DenseTargets) -> dict[str, list[Tensor]]:
        """``cls`` over all points, ``bbox`` over the positives, one value a level; both weigh positives by overlap."""
        pos_quality = torch.cat([s.assign_result.max_overlaps[s.pos_inds] for s in targets.samplings])
        distances, gt_boxes = preds.bbox_pred.flatten(0, 1)[targets.pos_inds], targets.pos_gt_bboxes
        boxes = self.bbox_coder.decode(self.coded(targets.pos_priors), distances)
        options = dict(quality=targets.spread(pos_quality), avg_factor=loss_normalizer(pos_quality))
        return self.level_losses(preds, targets, boxes, gt_boxes, pos_quality, options)


@MODELS.register_module()
class RTMDetSepBNHead(RTMDetHead):
    """``RTMDetHead`` whose levels have norm layers and predictors of their own.

    Args:
        share_conv: Levels share the convolutions of their towers.
        use_depthwise: Build the towers of depthwise separable convolutions.
        exp_on_reg: Predict the logarithm of distances.
        kwargs: See ``RTMDetHead``.
    """

    def __init__(
        self,
        *args,
        share_conv: bool = True,
        use_depthwise: bool = False,
        norm_cfg: dict | None = SEP_BN_NORM,
        act_cfg: dict | None = SEP_BN_ACT,
        pred_kernel_size: int = 1,
        exp_on_reg: bool = False,
        **kwargs,
    ) -> None:
        self.share_conv, self.use_depthwise, self.exp_on_reg = share_conv, use_depthwise, exp_on_reg
        super().__init__(*args, norm_cfg=norm_cfg, act_cfg=act_cfg, pred_kernel_size=pred_kernel_size, **kwargs)

    def _init_layers(self) -> None:
        super()._init_layers()
        del self.scales

    def _tower(self) -> nn.ModuleList:
        """One tower a level."""
        towers = self._separate_towers()
        return share_convolutions(towers) if self.share_conv else towers

    def _separate_towers(self) -> nn.ModuleList:
        block = DepthwiseSeparableConvModule if self.use_depthwise else ConvModule
        return nn.ModuleList(super(RTMDetSepBNHead, self)._tower(block=block) for _ in self.prior_generator.strides)

    def _predictors(self, channels: int) -> nn.ModuleList:
        """One convolution a level."""
        return nn.ModuleList(super(RTMDetSepBNHead, self)._predictors(channels) for _ in self.prior_generator.strides)

    def at_level(self, layers: nn.ModuleList, level: int) -> nn.Module:
        return layers[level]

    def distances(self, level: int, raw: Tensor) -> Tensor:
        raw = raw.float()
        return (raw.exp() if self.exp_on_reg else raw) * self.prior_generator.strides[level][0]


def with_objectness(cls_score: Tensor, objectness: Tensor) -> Tensor:
    """Logits (B, C, H, W) of the geometric mean of two probabilities, from logits (B, C, H, W) and (B, 1, H, W)."""
    mean = ((F.logsigmoid(cls_score.float()) + F.logsigmoid(objectness.float())) / 2).exp()
    return inverse_sigmoid(mean)
