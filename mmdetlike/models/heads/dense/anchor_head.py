"""Heads that classify and regress anchors: Faster R-CNN, arXiv 1506.01497."""

from collections.abc import Callable

from torch import Tensor, nn

from mmdetlike.models.layers.tower import build_tower
from mmdetlike.registry import MODELS

from ..common import loss_normalizer
from .base import DenseHead, DenseTargets, FlatPredictions

DEFAULT_ANCHORS = dict(type='AnchorGenerator', scales=[8, 16, 32], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64])
DEFAULT_CODER = dict(type='DeltaXYWHBBoxCoder')
DEFAULT_LOSS_CLS = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)
DEFAULT_LOSS_BBOX = dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0)


@MODELS.register_module()
class AnchorHead(DenseHead):
    """One convolution each for classes and deltas of the anchors at every cell.

    Args:
        anchor_generator: Makes the anchors.
        reg_decoded_bbox: Apply ``loss_bbox`` to decoded boxes in pixels, as IoU losses need, not to deltas.
        kwargs: See ``DenseHead``.
    """

    has_anchors = True

    def __init__(
        self,
        *args,
        anchor_generator: dict = DEFAULT_ANCHORS,
        bbox_coder: dict = DEFAULT_CODER,
        reg_decoded_bbox: bool = False,
        loss_cls: dict = DEFAULT_LOSS_CLS,
        loss_bbox: dict = DEFAULT_LOSS_BBOX,
        **kwargs,
    ) -> None:
        self.reg_decoded_bbox = reg_decoded_bbox
        parts = dict(loss_cls=loss_cls, loss_bbox=loss_bbox, bbox_coder=bbox_coder, prior_generator=anchor_generator)
        super().__init__(*args, **parts, **kwargs)

    def _init_layers(self) -> None:
        self.conv_cls = nn.Conv2d(self.in_channels, self.num_base_priors * self.cls_out_channels, 1)
        self.conv_reg = nn.Conv2d(self.in_channels, self.num_base_priors * self.bbox_coder.encode_size, 1)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes (B, A * classes, H, W) and deltas (B, A * 4, H, W)."""
        return self.conv_cls(x), self.conv_reg(x)

    def losses(self, preds: FlatPredictions, priors: Tensor, targets: DenseTargets) -> dict[str, list[Tensor]]:
        """``cls`` over all priors and ``bbox`` over the positives, one value a level."""
        return self.level_losses(preds, targets, *self.box_pairs(preds, targets))

    def level_losses(
        self,
        preds: FlatPredictions,
        targets: DenseTargets,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        class_options: dict | None = None,
        **more: Callable[[slice, Tensor], Tensor],
    ) -> dict[str, list[Tensor]]:
        """``cls``, ``bbox`` and the terms ``more`` at each level, given its rows and positives (see ``levels``).

        ``pred`` and ``target`` (P, 4) are what ``loss_bbox`` compares; with ``weight`` (P,) positives count by it, and
        its sum divides. ``class_options`` are further arguments of ``class_loss``.
        """
        factor = targets.avg_factor if weight is None else loss_normalizer(weight)

        def box_loss(rows: slice, pos: Tensor) -> Tensor:
            return self.loss_bbox(pred[pos], target[pos], None if weight is None else weight[pos], avg_factor=factor)

        def class_loss(rows: slice, pos: Tensor) -> Tensor:
            return self.class_loss(preds, targets, rows, **(class_options or {}))

        levels, terms = self.levels(preds, targets.pos_inds), dict(cls=class_loss, bbox=box_loss, **more)
        return {name: [term(*level) for level in levels] for name, term in terms.items()}

    def box_pairs(self, preds: FlatPredictions, targets: DenseTargets) -> tuple[Tensor, Tensor]:
        """What positives predict and should predict, (P, 4) each: deltas, or boxes with ``reg_decoded_bbox``."""
        pred = preds.bbox_pred.flatten(0, 1)[targets.pos_inds]
        if self.reg_decoded_bbox:
            return self.bbox_coder.decode(targets.pos_priors, pred), targets.pos_gt_bboxes
        return pred, self.bbox_coder.encode(targets.pos_priors, targets.pos_gt_bboxes)

    def class_loss(
        self,
        preds: FlatPredictions,
        targets: DenseTargets,
        rows: slice,
        quality: Tensor | None = None,
        avg_factor: float | None = None,
        loss_cls: nn.Module | None = None,
    ) -> Tensor:
        """``loss_cls`` of the priors ``rows`` of all images; with ``quality`` (B, N), of pairs of label and quality."""
        labels = targets.labels[:, rows].flatten()
        return (loss_cls or self.loss_cls)(
            preds.cls_score[:, rows].flatten(0, 1),
            labels if quality is None else (labels, quality[:, rows].flatten()),
            targets.label_weights[:, rows].flatten(),
            avg_factor=targets.avg_factor if avg_factor is None else avg_factor,
        )


class TowerHead(AnchorHead):
    """Base of the heads of anchors with two towers of convolutions.

    Args:
        stacked_convs: Convolutions in each tower.
        conv_cfg: Convolution layer of the towers.
        norm_cfg: Norm layer of the towers.
        kwargs: See ``AnchorHead``.
    """

    pred_kernel_size = 3

    def __init__(
        self, *args, stacked_convs: int = 4, conv_cfg: dict | None = None, norm_cfg: dict | None = None, **kwargs
    ) -> None:
        self.stacked_convs, self.conv_cfg, self.norm_cfg = stacked_convs, conv_cfg, norm_cfg
        super().__init__(*args, **kwargs)

    def _tower(self, **options) -> nn.ModuleList:
        widths = self.in_channels, self.feat_channels, self.stacked_convs
        return build_tower(*widths, self.conv_cfg, self.norm_cfg, **options)

    def at_level(self, layers: nn.Module, level: int) -> nn.Module:
        """The layers of one level, where levels have layers of their own."""
        return layers

    def _predictors(self, channels: int) -> nn.Module:
        """What predicts ``channels`` for each anchor."""
        width = self.feat_channels if self.stacked_convs else self.in_channels
        kernel = self.pred_kernel_size
        return nn.Conv2d(width, self.num_base_priors * channels, kernel, padding=kernel // 2)


def check_one_prior(head: DenseHead) -> None:
    """Raise a ``ValueError`` unless there is one prior at a cell, as heads need whose layers are about cells."""
    counts = head.prior_generator.num_base_priors
    if set(counts) != {1}:
        raise ValueError(f'{type(head).__name__} needs one anchor at a cell, but anchor_generator makes {counts}')


def box_centres(boxes: Tensor) -> Tensor:
    """The centres (..., 2) x, y of boxes (..., 4) xyxy."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2
