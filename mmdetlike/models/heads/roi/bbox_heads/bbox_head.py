"""Classify regions and refine their boxes: Fast R-CNN, arXiv 1504.08083."""

from collections.abc import Sequence

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import build_part, build_tower, run_tower
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS, TASK_UTILS
from mmdetlike.structures.bbox import geometry
from mmdetlike.utils.dist import mean_over_ranks

from ..linear_layers import linear_layers, run_linear
from .region_head import RegionHead

DEFAULT_CODER = dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])
DEFAULT_LOSS_CLS = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)
DEFAULT_LOSS_BBOX = dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0)

# class logits (n, num_classes + 1) and deltas (n, 4 * num_classes or 4); None where the head has no such layer
BoxPreds = tuple[Tensor | None, Tensor | None]


@MODELS.register_module()
class BBoxHead(RegionHead):
    """A linear layer for classes and one for deltas, on pooled region features.

    Args:
        with_avg_pool: Average each region over its cells first.
        with_cls, with_reg: Build the classifier, and build the regressor.
        roi_feat_size, in_channels: Height and width, and channels, of region features.
        bbox_coder: Encodes boxes against proposals.
        predict_box_type: ``'hbox'``, axis-aligned boxes, or ``'rbox'``, rotated ones; what ``bbox_coder`` makes.
        reg_class_agnostic: One box for all classes in place of one for each.
        reg_decoded_bbox: Apply ``loss_bbox`` to decoded boxes in pixels, as IoU losses need.
        reg_predictor_cfg, cls_predictor_cfg: Linear layers that regress and that classify.
        loss_bbox: Regression loss.
        num_classes, loss_cls: As of ``RegionHead``.

    Raises:
        ConfigError: The head would predict nothing, or ``predict_box_type`` is not what ``bbox_coder`` makes.
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
        super().__init__(num_classes, loss_cls, init_cfg or self._default_init(with_cls, with_reg))
        if not (with_cls or with_reg):
            raise ConfigError('with_cls and with_reg are both False: the head would predict nothing')
        self.with_avg_pool, self.with_cls, self.with_reg = with_avg_pool, with_cls, with_reg
        self.roi_feat_size = _pair(roi_feat_size)
        self.in_channels = in_channels
        self.reg_class_agnostic, self.reg_decoded_bbox = reg_class_agnostic, reg_decoded_bbox
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.box_dim = self.bbox_coder.box_dim
        self._check_box_type(predict_box_type)
        self.loss_bbox = MODELS.build(loss_bbox)
        self.reg_predictor_cfg, self.cls_predictor_cfg = reg_predictor_cfg, cls_predictor_cfg
        self.flat_area = 1 if with_avg_pool else self.roi_feat_size[0] * self.roi_feat_size[1]
        width = in_channels * self.flat_area
        # a subclass with hidden layers builds them again, for the widths that are left after those
        self.build_predictors(width, width)

    def _check_box_type(self, predict_box_type: str) -> None:
        coder = type(self.bbox_coder).__name__
        made = 'rbox' if self.box_dim == geometry.ROTATED else 'hbox'
        if predict_box_type != made:
            raise ConfigError(
                f'{type(self).__name__} has predict_box_type={predict_box_type!r}, but its bbox_coder {coder} makes '
                f"{geometry.KINDS[self.box_dim]}, which is '{made}'"
            )

    @staticmethod
    def _default_init(with_cls: bool, with_reg: bool) -> list[dict]:
        inits = []
        if with_cls:
            inits.append(dict(type='Normal', std=0.01, override=dict(name='fc_cls')))
        if with_reg:
            inits.append(dict(type='Normal', std=0.001, override=dict(name='fc_reg')))
        return inits

    def build_predictors(self, cls_in: int, reg_in: int) -> None:
        """Build the last layers, ``fc_cls`` and ``fc_reg``, for inputs of these widths, in place of earlier ones."""
        if self.with_cls:
            channels = self.num_classes + 1
            if getattr(self.loss_cls, 'custom_cls_channels', False):
                channels = self.loss_cls.get_cls_channels(self.num_classes)
            self.fc_cls = build_linear(self.cls_predictor_cfg, cls_in, channels)
        if self.with_reg:
            boxes = 1 if self.reg_class_agnostic else self.num_classes
            self.fc_reg = build_linear(self.reg_predictor_cfg, reg_in, boxes * self.bbox_coder.encode_size)

    def forward(self, x: Tensor) -> BoxPreds:
        """Region features (n, C, h, w) -> class logits (n, num_classes + 1) and deltas (n, 4 * num_classes or 4)."""
        x = self.flat(x)
        cls_score = self.fc_cls(x) if self.with_cls else None
        return cls_score, self.fc_reg(x) if self.with_reg else None

    def flat(self, x: Tensor) -> Tensor:
        """Features of all cells (n, C, h, w), or their means if ``with_avg_pool``, as rows (n, c); rows stay."""
        if x.ndim == 4 and self.with_avg_pool:
            x = x.mean((2, 3))
        return x.flatten(1)

    # -- training ----------------------------------------------------------------------------------------------------

    def loss(self, preds: BoxPreds, sampled: Sequence[SamplingResult], cfg: ConfigDict) -> dict[str, Tensor]:
        """Loss terms of the sampled regions; see ``RegionHead``."""
        cls_score, bbox_pred = preds[:2]  # a subclass may return more
        labels, weights, pos_inds = self.classification_targets(sampled, cfg.get('pos_weight', -1))
        losses = {}
        if cls_score is not None:
            losses.update(self.classification_terms(cls_score, labels, weights))
        if bbox_pred is not None:
            bbox_pred = float32_if_half(bbox_pred)[0]
            # by all sampled regions, not by the positives: an image with few objects shall not weigh more
            avg_factor = mean_over_ranks(len(labels), labels.device, least=1.0)
            pair = self.regression_pair(bbox_pred, labels, pos_inds, sampled)
            losses['loss_bbox'] = self.loss_bbox(*pair, avg_factor=avg_factor)
        return losses

    def deltas_of_class(self, deltas: Tensor, labels: Tensor) -> Tensor:
        """The deltas (..., 4) of classes (...) among those of all (..., 4 * num_classes or 4)."""
        if self.reg_class_agnostic:
            return deltas
        of_classes = deltas.unflatten(-1, (-1, self.bbox_coder.encode_size))
        # not take_along_dim, which torch.export can't trace for an unknown number of regions
        index = labels[..., None, None].expand(*labels.shape, 1, self.bbox_coder.encode_size)
        return of_classes.gather(-2, index).squeeze(-2)

    def regression_pair(
        self, bbox_pred: Tensor, labels: Tensor, pos_inds: Tensor, sampled: Sequence[SamplingResult]
    ) -> tuple[Tensor, Tensor]:
        """Predictions and targets (p, 4) that ``loss_bbox`` compares, of the positives ``pos_inds`` (p,)."""
        pred = self.deltas_of_class(bbox_pred[pos_inds], labels[pos_inds])
        priors = torch.cat([result.pos_priors for result in sampled])
        target = torch.cat([result.pos_gt_bboxes for result in sampled])
        if self.reg_decoded_bbox:
            return self.bbox_coder.decode(priors, pred), target
        return pred, self.bbox_coder.encode(priors, target)

    # -- testing -----------------------------------------------------------------------------------------------------

    def decode(
        self, boxes: Tensor, preds: BoxPreds, labels: Tensor, img_shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor | None]:
        """Boxes (n, 4) moved by the deltas of their class; where nothing is regressed they stay."""
        bbox_pred = preds[1]
        if bbox_pred is None:
            return boxes, None
        deltas = float32_if_half(self.deltas_of_class(bbox_pred, labels))[0]
        return self.bbox_coder.decode(boxes, deltas, max_shape=img_shape), None


def build_linear(cfg: dict | None, in_features: int, out_features: int) -> nn.Module:
    """A linear layer, ``dict(type='Linear')`` unless a config names another one."""
    return build_part(cfg, 'Linear', in_features=in_features, out_features=out_features)


@MODELS.register_module()
class ConvFCBBoxHead(BBoxHead):
    """Shared convolutions and linear layers, then a branch each for classes and boxes.

    Args:
        num_shared_convs, num_shared_fcs: 3x3 convolutions and linear layers before the branches part.
        num_cls_convs, num_cls_fcs: Convolutions and linear layers of the class branch.
        num_reg_convs, num_reg_fcs: Convolutions and linear layers of the box branch.
        conv_out_channels, fc_out_channels: Width of the convolutions and of the linear layers.
        conv_cfg, norm_cfg: Convolution layer and norm layer of the convolutions.

    Raises:
        ConfigError: A branch has convolutions after shared linear layers.
    """

    def __init__(
        self,
        num_shared_convs: int = 0,
        num_shared_fcs: int = 0,
        num_cls_convs: int = 0,
        num_cls_fcs: int = 0,
        num_reg_convs: int = 0,
        num_reg_fcs: int = 0,
        conv_out_channels: int = 256,
        fc_out_channels: int = 1024,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(init_cfg=init_cfg, **kwargs)
        if num_shared_fcs and (num_cls_convs or num_reg_convs):
            raise ConfigError(
                f'no convolution can follow a linear layer: num_shared_fcs={num_shared_fcs} with '
                f'num_cls_convs={num_cls_convs}, num_reg_convs={num_reg_convs}'
            )
        self.conv_out_channels, self.fc_out_channels = conv_out_channels, fc_out_channels
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        self.shared_convs, channels = self._convs(self.in_channels, num_shared_convs)
        self.shared_fcs, shared_width = linear_layers(channels * self.flat_area, fc_out_channels, num_shared_fcs)
        widths = {}
        for name, num_convs, num_fcs in (('cls', num_cls_convs, num_cls_fcs), ('reg', num_reg_convs, num_reg_fcs)):
            convs, branch_channels = self._convs(channels, num_convs)
            fcs_in = shared_width if num_shared_fcs else branch_channels * self.flat_area
            fcs, widths[name] = linear_layers(fcs_in, fc_out_channels, num_fcs)
            self.add_module(f'{name}_convs', convs)
            self.add_module(f'{name}_fcs', fcs)
        self.build_predictors(widths['cls'], widths['reg'])
        if init_cfg is None:
            # the shared layers count among those of both branches
            names = [dict(name=name) for name in ('shared_fcs', 'cls_fcs', 'reg_fcs')]
            self.init_cfg += [dict(type='Xavier', distribution='uniform', override=names)]

    def _convs(self, width: int, count: int) -> tuple[nn.ModuleList, int]:
        layers = build_tower(width, self.conv_out_channels, count, self.conv_cfg, self.norm_cfg)
        return layers, self.conv_out_channels if count else width

    def forward(self, x: Tensor) -> BoxPreds:
        return self.predict_from_shared(self.shared_features(x))

    def shared_features(self, x: Tensor) -> Tensor:
        """Region features (n, C, h, w) -> features of both branches, (n, c) after linear layers."""
        return self._run(x, self.shared_convs, self.shared_fcs)

    def predict_from_shared(self, x: Tensor) -> BoxPreds:
        """Features of both branches -> class logits and deltas."""
        cls_score = self.fc_cls(self.flat(self._run(x, self.cls_convs, self.cls_fcs))) if self.with_cls else None
        bbox_pred = self.fc_reg(self.flat(self._run(x, self.reg_convs, self.reg_fcs))) if self.with_reg else None
        return cls_score, bbox_pred

    def _run(self, x: Tensor, convs: nn.ModuleList, fcs: nn.ModuleList) -> Tensor:
        x = run_tower(convs, x)
        return run_linear(fcs, self.flat(x)) if len(fcs) else x


@MODELS.register_module()
class Shared2FCBBoxHead(ConvFCBBoxHead):
    """Two shared linear layers, the usual head of an FPN detector."""

    def __init__(self, fc_out_channels: int = 1024, **kwargs) -> None:
        super().__init__(num_shared_fcs=2, fc_out_channels=fc_out_channels, **kwargs)


@MODELS.register_module()
class Shared4Conv1FCBBoxHead(ConvFCBBoxHead):
    """Four shared convolutions and one linear layer."""

    def __init__(self, fc_out_channels: int = 1024, **kwargs) -> None:
        super().__init__(num_shared_convs=4, num_shared_fcs=1, fc_out_channels=fc_out_channels, **kwargs)
