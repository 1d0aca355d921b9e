"""FCOS: Fully Convolutional One-Stage Object Detection, arXiv 1904.01355; NAS-FCOS, arXiv 1906.04423."""

from collections.abc import Sequence

import torch
from mmengine.model import bias_init_with_prob
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule, Scale, build_part
from mmdetlike.models.task_modules import PointRangeAssigner
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from ..common import BINARY_CROSS_ENTROPY, FOCAL_LOSS, TOWER_NORM, loss_normalizer, notice_unused_assigner
from .anchor_free_head import DISTANCE_CODER, IOU_LOSS, REGRESS_RANGES, AnchorFreeHead
from .predictions import DenseTargets, FlatPredictions

DEFORMABLE = dict(kernel_size=3, padding=1, bias=True, conv_cfg=dict(type='DCNv2', deform_groups=2))
# the towers of NAS-FCOS, layer by layer
SEARCHED_LAYERS = (DEFORMABLE, dict(kernel_size=3, padding=1, bias=False), DEFORMABLE, dict(kernel_size=1, bias=False))


@MODELS.register_module()
class FCOSHead(AnchorFreeHead):
    """Predict classes, the distances to the box sides and the centerness of every point.

    Args:
        regress_ranges: For each level the range of an object's largest distance from a point, in pixels.
        center_sampling: Take points near the center of an object alone.
        center_sample_radius: How near, in strides.
        norm_on_bbox: Predict distances in strides, not as exponents.
        centerness_on_reg: Predict centerness from the tower of boxes, not from that of classes.
        loss_centerness: Loss of centerness.
        rank_by_centerness: Select candidates by the geometric mean of their score and centerness, which becomes their
            score, as torchvision does; else they are selected by score and then multiplied by centerness.
        cls_predictor_cfg: Linear layer that classifies each pixel, as ``NormedLinear``; None for a 3x3 convolution.
        train_cfg: Settings of ``DenseHead``, without ``assigner``: objects are assigned by ``regress_ranges``.
        num_classes, in_channels, feat_channels, stacked_convs, strides, dcn_on_last_conv: As of ``AnchorFreeHead``.
        conv_bias, conv_cfg, norm_cfg, loss_cls, loss_bbox, bbox_coder: As of ``AnchorFreeHead``.
        prior_generator, test_cfg, init_cfg: As of ``AnchorFreeHead``.
    """

    map_names = ('cls_score', 'bbox_pred', 'centerness')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        regress_ranges: Sequence[tuple[float, float]] = REGRESS_RANGES,
        center_sampling: bool = False,
        center_sample_radius: float = 1.5,
        norm_on_bbox: bool = False,
        centerness_on_reg: bool = False,
        loss_centerness: dict = BINARY_CROSS_ENTROPY,
        norm_cfg: dict | None = TOWER_NORM,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        dcn_on_last_conv: bool = False,
        conv_bias: bool | str = 'auto',
        conv_cfg: dict | None = None,
        loss_cls: dict = FOCAL_LOSS,
        loss_bbox: dict = IOU_LOSS,
        bbox_coder: dict = DISTANCE_CODER,
        prior_generator: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
        rank_by_centerness: bool = False,
        cls_predictor_cfg: dict | None = None,
    ) -> None:
        self.norm_on_bbox, self.centerness_on_reg = norm_on_bbox, centerness_on_reg
        self.rank_by_centerness, self.cls_predictor_cfg = rank_by_centerness, cls_predictor_cfg
        towers = dict(feat_channels=feat_channels, stacked_convs=stacked_convs, dcn_on_last_conv=dcn_on_last_conv)
        convs = dict(conv_bias=conv_bias, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        boxes = dict(strides=strides, prior_generator=prior_generator, bbox_coder=bbox_coder)
        losses = dict(loss_cls=loss_cls, loss_bbox=loss_bbox)
        settings = dict(train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init_cfg)
        super().__init__(num_classes, in_channels, **towers, **convs, **boxes, **losses, **settings)
        self.loss_centerness = MODELS.build(loss_centerness)
        notice_unused_assigner(type(self), self.train_cfg, 'regress_ranges')
        self.assigner = PointRangeAssigner(regress_ranges, center_sample_radius if center_sampling else None)

    def build_layers(self) -> None:
        super().build_layers()
        if self.cls_predictor_cfg is not None:
            self.conv_cls = build_part(
                self.cls_predictor_cfg, 'Linear', in_features=self.feat_channels, out_features=self.cls_out_channels
            )
        self.conv_centerness = nn.Conv2d(self.feat_channels, 1, 3, padding=1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.strides)

    def init_weights(self) -> None:
        """As ``init_cfg`` says; classes of a linear layer, too, begin at a probability of 0.01."""
        super().init_weights()
        # linear layers that initialize themselves begin at one half, which thousands of classes wouldn't recover from
        if self.cls_predictor_cfg is not None and self.conv_cls.bias is not None:
            nn.init.constant_(self.conv_cls.bias, bias_init_with_prob(0.01))

    def predict_maps(self, level: int, cls_feat: Tensor, reg_feat: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes, distances in pixels and centerness."""
        centerness = self.conv_centerness(reg_feat if self.centerness_on_reg else cls_feat)
        # float32 before the exponential, which half precision would overflow beyond 11
        distances = self.scales[level](self.conv_reg(reg_feat)).float()
        distances = distances.clamp(min=0) * self.strides[level] if self.norm_on_bbox else distances.exp()
        return self.classify(cls_feat), distances, centerness

    def classify(self, cls_feat: Tensor) -> Tensor:
        """Class logits (B, classes, H, W) of the features (B, C, H, W) of their tower."""
        if self.cls_predictor_cfg is None:
            return self.conv_cls(cls_feat)
        return self.conv_cls(cls_feat.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def scores(self, preds: FlatPredictions) -> Tensor:
        """Class scores (B, N, C) in [0, 1], with centerness in them if ``rank_by_centerness``."""
        scores = super().scores(preds)
        return (scores * preds.centerness.sigmoid()).sqrt() if self.rank_by_centerness else scores

    def score_factors(self, preds: FlatPredictions) -> Tensor | None:
        """Centerness (B, N); None where it is in the scores already."""
        return None if self.rank_by_centerness else super().score_factors(preds)

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> dict[str, Tensor]:
        """``cls`` over all points, ``bbox`` and ``centerness`` over the positives."""
        pos_inds = targets.pos_inds
        points = targets.pos_priors.points
        gt_boxes = targets.pos_gt_bboxes
        boxes = self.bbox_coder.decode(points, preds.bbox_pred.flatten(0, 1)[pos_inds])
        centerness = centerness_target(self.bbox_coder.encode(points, gt_boxes))
        # boxes count by their centerness, so that is what their loss is divided by
        box_factor = loss_normalizer(centerness, 1e-6)
        cls_score = preds.cls_score.flatten(0, 1)
        pos_logits = preds.centerness.flatten()[pos_inds]
        return dict(
            # without weights: FCOS ignores no point
            cls=self.loss_cls(cls_score, targets.labels.flatten(), avg_factor=targets.num_pos),
            bbox=self.loss_bbox(boxes, gt_boxes, weight=centerness, avg_factor=box_factor),
            centerness=self.loss_centerness(pos_logits, centerness, avg_factor=targets.num_pos),
        )


@MODELS.register_module()
class NASFCOSHead(FCOSHead):
    """``FCOSHead`` with towers of two deformable and two ordinary convolutions, as an architecture search found them.

    Args:
        stacked_convs: Must be 4, the length of the towers that were found.
        kwargs: See ``FCOSHead``; ``conv_cfg``, ``conv_bias`` and ``dcn_on_last_conv`` are not to be given.

    Raises:
        ConfigError: ``stacked_convs`` is not 4, or the towers' layers are to be others.
    """

    default_init = [
        dict(type='Caffe2Xavier', layer=['ConvModule', 'Conv2d']),
        dict(
            type='Normal',
            std=0.01,
            override=[
                dict(name='conv_reg'),
                dict(name='conv_centerness'),
                dict(name='conv_cls', type='Normal', std=0.01, bias_prob=0.01),
            ],
        ),
    ]

    def __init__(self, num_classes: int, in_channels: int, stacked_convs: int = 4, **kwargs) -> None:
        if stacked_convs != len(SEARCHED_LAYERS):
            raise ConfigError(f'the towers of NASFCOSHead have 4 layers, got stacked_convs={stacked_convs}')
        given = [name for name in ('conv_cfg', 'conv_bias', 'dcn_on_last_conv') if name in kwargs]
        if given:
            raise ConfigError(f'the layers of the towers of NASFCOSHead are fixed, so {given[0]} must not be given')
        super().__init__(num_classes, in_channels, stacked_convs=stacked_convs, **kwargs)

    def build_tower(self) -> nn.ModuleList:
        widths = [self.in_channels] + [self.feat_channels] * (len(SEARCHED_LAYERS) - 1)
        layers = zip(widths, SEARCHED_LAYERS)
        return nn.ModuleList(
            ConvModule(width, self.feat_channels, norm_cfg=self.norm_cfg, **layer) for width, layer in layers
        )


def centerness_target(distances: Tensor) -> Tensor:
    """Centerness (n,) in [0, 1] of points from their distances (n, 4) to left, top, right and bottom of their box.

    It is 1 in the middle and 0 on a side: equation 3 of the paper.
    """
    near = torch.minimum(distances[:, :2], distances[:, 2:])
    far = torch.maximum(distances[:, :2], distances[:, 2:])
    return (near / far).prod(-1).sqrt()
