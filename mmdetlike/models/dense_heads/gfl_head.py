"""Generalized Focal Loss: Learning Qualified and Distributed Bounding Boxes, arXiv 2006.04388."""

import torch
from torch import Tensor, nn

from mmdetlike.models.layers import Scale
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import bbox_overlaps
from mmdetlike.utils.dist import mean_over_ranks

from .anchor_head import AnchorHead, box_centres, check_one_prior
from .dense_head import DenseTargets, FlatPredictions
from .fcos_head import DEFAULT_NORM
from .tower import build_tower, run_tower

DEFAULT_LOSS_DFL = dict(type='DistributionFocalLoss', loss_weight=0.25)
DEFAULT_CODER = dict(type='DistancePointBBoxCoder')


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
class GFLHead(AnchorHead):
    """Classes joined with the quality of their boxes, whose sides are distributions of their distance to a cell.

    Args:
        num_classes: Classes without background.
        in_channels: Channels of the pyramid maps.
        stacked_convs: Convolutions in each tower.
        conv_cfg: Convolution layer of the towers.
        norm_cfg: Norm layer of the towers.
        loss_dfl: Loss of the distributions.
        bbox_coder: Encodes boxes against points, in strides.
        reg_max: The largest distance in strides.
        init_cfg: Weight initialisation; by default classes start at a probability of 0.01.
        kwargs: See ``AnchorHead``; ``loss_cls`` takes ``(label, quality)`` as target, as QualityFocalLoss does.

    Raises:
        ValueError: There is more than one anchor at a cell.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = DEFAULT_NORM,
        loss_dfl: dict = DEFAULT_LOSS_DFL,
        bbox_coder: dict = DEFAULT_CODER,
        reg_max: int = 16,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        self.stacked_convs, self.conv_cfg, self.norm_cfg, self.reg_max = stacked_convs, conv_cfg, norm_cfg, reg_max
        prior = dict(type='Normal', name='gfl_cls', std=0.01, bias_prob=0.01)
        super().__init__(
            num_classes,
            in_channels,
            bbox_coder=bbox_coder,
            init_cfg=init_cfg or dict(type='Normal', layer='Conv2d', std=0.01, override=prior),
            **kwargs,
        )
        check_one_prior(self)
        self.integral = Integral(reg_max)
        self.loss_dfl = MODELS.build(loss_dfl)

    def _init_layers(self) -> None:
        widths = self.in_channels, self.feat_channels, self.stacked_convs, self.conv_cfg, self.norm_cfg
        self.cls_convs, self.reg_convs = build_tower(*widths), build_tower(*widths)
        self.gfl_cls = nn.Conv2d(self.feat_channels, self.cls_out_channels, 3, padding=1)
        self.gfl_reg = nn.Conv2d(self.feat_channels, 4 * (self.reg_max + 1), 3, padding=1)
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
        total = max(mean_over_ranks(float(weight.sum()), weight.device), 1.0)
        quality = weight.new_zeros(targets.labels.shape)
        quality.view(-1)[targets.pos_inds] = bbox_overlaps(boxes.detach(), gt_boxes, is_aligned=True)
        terms = dict(cls=[], bbox=[], dfl=[])
        for rows, pos in self.levels(preds, targets.pos_inds):
            terms['cls'].append(self.quality_loss(preds, targets, quality, rows))
            terms['bbox'].append(self.loss_bbox(boxes[pos], gt_boxes[pos], weight[pos], avg_factor=total))
            sides = logits[pos].reshape(-1, self.reg_max + 1), distances[pos].flatten()
            side_weight = weight[pos].repeat_interleave(4)
            terms['dfl'].append(self.loss_dfl(*sides, side_weight, avg_factor=4 * total))
        return terms

    def quality_loss(self, preds: FlatPredictions, targets: DenseTargets, quality: Tensor, rows: slice) -> Tensor:
        """Classification loss of the priors ``rows`` of all images, ``quality`` (B, N) being that of the positives."""
        return self.loss_cls(
            preds.cls_score[:, rows].flatten(0, 1),
            (targets.labels[:, rows].flatten(), quality[:, rows].flatten()),
            targets.label_weights[:, rows].flatten(),
            avg_factor=targets.avg_factor,
        )

    def decode(self, preds: FlatPredictions, priors: Tensor, index: int, inds: Tensor, img_shape) -> Tensor:
        """Boxes of the chosen cells, clipped to the image."""
        distances = self.integral(preds.bbox_pred[index][inds]) * self.prior_strides(preds)[inds, None]
        return self.bbox_coder.decode(box_centres(priors[inds]), distances, max_shape=img_shape)
