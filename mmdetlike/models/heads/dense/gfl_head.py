"""Generalized Focal Loss: Learning Qualified and Distributed Bounding Boxes, arXiv 2006.04388."""

import torch
from torch import Tensor, nn

from mmdetlike.models.layers import Scale
from mmdetlike.models.layers.tower import run_tower
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import bbox_overlaps

from ..common import loss_normalizer, rare_classes_init
from .anchor_free_head import DEFAULT_CODER
from .anchor_head import TowerHead, box_centres, check_one_prior
from .base import DenseTargets, FlatPredictions
from .fcos_head import DEFAULT_NORM

DEFAULT_LOSS_DFL = dict(type='DistributionFocalLoss', loss_weight=0.25)


class Integral(nn.Module):
    """The mean of a distribution over the integers 0 to ``reg_max``.

    Args:
        reg_max: The largest of them.
    """

    def __init__(self, reg_max: int = 16) -> None:
        super().__init__()
        self.reg_max = reg_max
        self.register_buffer('project', torch.linspace(0, reg_max, reg_max + 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, 4 * (reg_max + 1)) of the four sides -> their distances (n, 4)."""
        probabilities = x.unflatten(-1, (4, self.reg_max + 1)).softmax(-1)
        return probabilities @ self.project.type_as(x)


@MODELS.register_module()
class GFLHead(TowerHead):
    """Classes joined with the quality of their boxes, whose sides are distributions of their distance to a cell.

    Args:
        loss_dfl: Loss of the distributions.
        bbox_coder: Encodes boxes against points, in strides.
        reg_max: The largest distance in strides.
        kwargs: See ``TowerHead``; ``loss_cls`` takes ``(label, quality)`` as target, as QualityFocalLoss does.
    """

    default_init = rare_classes_init('gfl_cls')

    def __init__(
        self,
        *args,
        loss_dfl: dict = DEFAULT_LOSS_DFL,
        bbox_coder: dict = DEFAULT_CODER,
        reg_max: int = 16,
        norm_cfg: dict | None = DEFAULT_NORM,
        **kwargs,
    ) -> None:
        self.reg_max = reg_max
        super().__init__(*args, bbox_coder=bbox_coder, norm_cfg=norm_cfg, **kwargs)
        check_one_prior(self)
        self.integral = Integral(reg_max)
        self.loss_dfl = MODELS.build(loss_dfl)

    def _init_layers(self) -> None:
        self.cls_convs, self.reg_convs = self._tower(), self._tower()
        self.gfl_cls = self._predictors(self.cls_out_channels)
        self.gfl_reg = self._predictors(4 * (self.reg_max + 1))
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.prior_generator.strides)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes and the logits of four distributions (B, 4 * (reg_max + 1), H, W)."""
        cls_feat, reg_feat = run_tower(self.cls_convs, x), run_tower(self.reg_convs, x)
        return self.gfl_cls(cls_feat), self.scales[level](self.gfl_reg(reg_feat)).float()

    def losses(self, preds: FlatPredictions, priors: Tensor, targets: DenseTargets) -> dict[str, list[Tensor]]:
        """``cls`` over all cells, ``bbox`` and ``dfl`` over the positives, one value a level.

        Positives count by their best class probability; boxes are compared in strides.
        """
        strides = self.prior_strides(preds)[targets.pos_inds % len(priors), None]
        points, gt_boxes = box_centres(targets.pos_priors) / strides, targets.pos_gt_bboxes / strides
        logits = preds.bbox_pred.flatten(0, 1)[targets.pos_inds]
        boxes = self.bbox_coder.decode(points, self.integral(logits))
        distances = self.bbox_coder.encode(points, gt_boxes, self.reg_max)
        weight = preds.cls_score.detach().flatten(0, 1)[targets.pos_inds].sigmoid().amax(1)
        quality = targets.spread(bbox_overlaps(boxes.detach(), gt_boxes, is_aligned=True))
        factor = 4 * loss_normalizer(weight)

        def side_loss(rows: slice, pos: Tensor) -> Tensor:
            sides = logits[pos].reshape(-1, self.reg_max + 1), distances[pos].flatten()
            return self.loss_dfl(*sides, weight[pos].repeat_interleave(4), avg_factor=factor)

        return self.level_losses(preds, targets, boxes, gt_boxes, weight, dict(quality=quality), dfl=side_loss)

    def decode(self, preds: FlatPredictions, priors: Tensor, index: int, inds: Tensor, img_shape) -> Tensor:
        """Boxes of the chosen cells, clipped to the image."""
        distances = self.integral(preds.bbox_pred[index][inds]) * self.prior_strides(preds)[inds, None]
        return self.bbox_coder.decode(box_centres(priors[inds]), distances, max_shape=img_shape)
