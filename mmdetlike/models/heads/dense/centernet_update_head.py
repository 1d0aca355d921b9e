"""CenterNet on a pyramid: the first stage of Probabilistic Two-stage Detection, arXiv 2103.07461."""

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import Scale, run_tower
from mmdetlike.models.task_modules import Priors
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import geometry, get_box_tensor
from mmdetlike.utils.dist import mean_over_ranks

from ..common import TOWER_NORM, loss_normalizer, notice_unused_assigner
from .anchor_free_head import AnchorFreeHead
from .predictions import FlatPredictions

DEFAULT_LOSS_CLS = dict(type='GaussianFocalLoss', pos_weight=0.25, neg_weight=0.75, loss_weight=1.0)
DEFAULT_LOSS_BBOX = dict(type='GIoULoss', loss_weight=2.0)
MIN_PROBABILITY = 1e-4  # scores are kept so far from 0 and 1, which keeps logarithms finite
MIN_HEAT = 1e-4  # less is background


@dataclass
class CellPairs:
    """How the N points of an image lie to its m objects.

    Attributes:
        is_center: (N, m) whether the object's center lies in the cell of the point.
        is_near: (N, m) whether it lies in this cell or one of the eight around it.
        suits: (N, m) whether the object is of the size of the point's level, and the point inside of its box.
        heat_distances: (N, m) squared distance from the object's center, by the squared radius of its bell; 0 in the
            cell of the center.
    """

    is_center: Tensor
    is_near: Tensor
    suits: Tensor
    heat_distances: Tensor


@MODELS.register_module()
class CenterNetUpdateHead(AnchorFreeHead):
    """Heat maps of centers and distances to the sides, at the points of a pyramid.

    Args:
        regress_ranges: For each level the range of half the diagonal of an object, in pixels.
        hm_min_radius: Least radius of an object's bell, in pixels.
        hm_min_overlap: The bell's radius is that of corners which keep so much of an object's box.
        more_pos_thresh: Beside centers, points are positives whose box has a loss below this.
        more_pos_topk: At most one less than so many of an object.
        soft_weight_on_reg: Weigh the loss of boxes by the heat of their points.
        loss_cls: A ``GaussianFocalLoss``.
        kwargs: See ``AnchorFreeHead``; objects are assigned by ``regress_ranges``, not by a ``train_cfg.assigner``.

    Raises:
        ConfigError: ``loss_cls`` is another loss, or there is not one of ``regress_ranges`` a level.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        regress_ranges: Sequence[tuple[float, float]] = ((0, 80), (64, 160), (128, 320), (256, 640), (512, 1e8)),
        hm_min_radius: int = 4,
        hm_min_overlap: float = 0.8,
        more_pos_thresh: float = 0.2,
        more_pos_topk: int = 9,
        soft_weight_on_reg: bool = False,
        norm_cfg: dict | None = TOWER_NORM,
        loss_cls: dict = DEFAULT_LOSS_CLS,
        loss_bbox: dict = DEFAULT_LOSS_BBOX,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, norm_cfg=norm_cfg, loss_cls=loss_cls, loss_bbox=loss_bbox, **kwargs)
        if 'pos_inds' not in inspect.signature(self.loss_cls.forward).parameters:
            raise ConfigError(f'loss_cls of CenterNetUpdateHead must be a GaussianFocalLoss, got {loss_cls["type"]}')
        if len(regress_ranges) != len(self.strides):
            raise ConfigError(
                f'CenterNetUpdateHead has {len(self.strides)} strides, so it needs as many regress_ranges, '
                f'got {len(regress_ranges)}'
            )
        notice_unused_assigner(type(self), self.train_cfg, 'regress_ranges')
        self.regress_ranges = regress_ranges
        self.hm_min_radius = hm_min_radius
        # of the corners of a box, by its sides: shifted so far, they leave an overlap of hm_min_overlap
        self.delta = (1 - hm_min_overlap) / (1 + hm_min_overlap)
        self.more_pos_thresh, self.more_pos_topk = more_pos_thresh, more_pos_topk
        self.soft_weight_on_reg = soft_weight_on_reg

    def build_layers(self) -> None:
        # heat maps are of independent classes: the loss, which takes probabilities, doesn't say so
        self.use_sigmoid_cls = True
        self.cls_out_channels = self.num_classes
        super().build_layers()
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.strides)

    def predict_maps(self, level: int, cls_feat: Tensor, reg_feat: Tensor) -> tuple[Tensor, ...]:
        distances = self.scales[level](self.conv_reg(reg_feat)).float()
        return self.conv_cls(cls_feat), distances.clamp(min=0) * self.strides[level]

    def compute_losses(self, preds: FlatPredictions, samples: SampleList) -> dict[str, Tensor]:
        """``cls`` of heat maps and their positives, ``bbox`` of the points near the centers of objects."""
        heatmaps, gt_inds, gt_boxes, positives, classes = [], [], [], [], []
        for i, sample in enumerate(samples):
            of_image = preds.of_image(i)
            objects = self.gt_instances(sample)
            pairs = self.pairs(of_image.priors, get_box_tensor(objects.bboxes))
            heatmaps.append(self.heatmap(pairs, objects.labels))
            nearest = nearest_object(pairs)
            gt_inds.append(nearest)
            gt_boxes.append(get_box_tensor(objects.bboxes)[nearest[nearest >= 0]])
            points, owners = self.class_positives(of_image, objects, pairs)
            positives.append(points + i * len(preds.priors))
            classes.append(objects.labels[owners])
        heatmap = torch.cat(heatmaps)
        pos_inds = torch.cat(positives), torch.cat(classes)
        has_box = (torch.cat(gt_inds) >= 0).nonzero().squeeze(1)
        return dict(
            cls=self.heat_loss(preds.cls_score.flatten(0, 1), heatmap, pos_inds),
            bbox=self.box_loss(preds, has_box, torch.cat(gt_boxes), heatmap[has_box].amax(-1)),
        )

    def heat_loss(self, logits: Tensor, heatmap: Tensor, pos_inds: tuple[Tensor, Tensor]) -> Tensor:
        """Loss of ``logits`` (M, C) against ``heatmap`` (M, C), with positives at rows and columns ``pos_inds``."""
        scores = logits.sigmoid().clamp(min=MIN_PROBABILITY, max=1 - MIN_PROBABILITY)
        count = mean_over_ranks(len(pos_inds[0]), logits.device, least=1.0)
        rows, columns = pos_inds
        return self.loss_cls(scores, heatmap, pos_inds=rows, pos_labels=columns, avg_factor=count)

    def box_loss(self, preds: FlatPredictions, has_box: Tensor, gt_boxes: Tensor, heat: Tensor) -> Tensor:
        """Loss of the boxes of the points ``has_box`` (p,), of all images, against ``gt_boxes`` (p, 4)."""
        points = preds.priors.of_batch(has_box).points
        boxes = self.bbox_coder.decode(points, preds.bbox_pred.flatten(0, 1)[has_box])
        weights = heat if self.soft_weight_on_reg else torch.ones_like(heat)
        return self.loss_bbox(boxes, gt_boxes, weight=weights, avg_factor=loss_normalizer(weights))

    def pairs(self, priors: Priors, boxes: Tensor) -> CellPairs:
        """How the points of an image lie to its objects with ``boxes`` (m, 4)."""
        points = priors.points[:, None]
        strides = priors.strides[:, None]
        centers = geometry.centers(boxes)
        # from the middle of the cell of an object's center, on the level of the point
        offsets = points - ((centers / strides).floor() + 0.5) * strides
        is_center = (offsets == 0).all(-1)
        is_near = (offsets.abs() <= strides).all(-1)
        ranges = points.new_tensor(self.regress_ranges)[priors.level_ids]
        half_diagonals = geometry.sizes(boxes).norm(dim=-1) / 2
        is_of_level = (half_diagonals >= ranges[:, :1]) & (half_diagonals <= ranges[:, 1:])
        is_inside = geometry.side_distances(points, boxes).amin(-1) > 0
        radii = (2 * self.delta**2 * geometry.areas(boxes)).clamp(min=self.hm_min_radius**2)
        distances = (points - centers).square().sum(-1).masked_fill(is_center, 0)
        return CellPairs(is_center, is_near, is_of_level & is_inside, distances / radii)

    def heatmap(self, pairs: CellPairs, labels: Tensor) -> Tensor:
        """(N, C) the bells of objects of classes ``labels`` (m,), the highest one of each class."""
        heat = (-pairs.heat_distances).exp()
        heat = heat.masked_fill(heat < MIN_HEAT, 0)
        empty = heat.new_zeros(len(heat), self.num_classes)
        return empty.scatter_reduce(1, labels.expand_as(heat), heat, 'amax')

    @torch.no_grad()
    def class_positives(self, preds: FlatPredictions, objects: InstanceData, pairs: CellPairs) -> tuple[Tensor, Tensor]:
        """The points (p,) of an image that are positives of its heat map, and their objects (p,).

        They are the centers on the levels of the object's size, and those of the points around centers, on all levels,
        whose box is nearly that of the object.
        """
        boxes = get_box_tensor(objects.bboxes)
        point_inds, owners = pairs.is_near.nonzero(as_tuple=True)
        predicted = self.bbox_coder.decode(preds.priors.points[point_inds], preds.bbox_pred[0][point_inds])
        loss = self.loss_bbox(predicted, boxes[owners], reduction_override='none') / self.loss_bbox.loss_weight
        losses = torch.full_like(pairs.heat_distances, math.inf)
        losses[point_inds, owners] = loss.to(losses)
        losses[pairs.suits & pairs.is_center] = 0
        rank = min(self.more_pos_topk, len(losses))
        limit = losses.kthvalue(rank, dim=0).values.clamp(max=self.more_pos_thresh)
        return (losses < limit).nonzero(as_tuple=True)


@MODELS.register_module()
class CenterNetRPNHead(CenterNetUpdateHead):
    """A ``CenterNetUpdateHead`` that proposes: one heat map of all objects, from the tower of boxes.

    Positives of the heat map are the centers alone. With ``test_cfg.rcnn.mult_proposal_score`` the second stage
    multiplies its scores by those of the proposals.

    Args:
        num_classes: Must be 1: object or not.
        kwargs: See ``CenterNetUpdateHead``; ``more_pos_thresh`` and ``more_pos_topk`` have no effect.

    Raises:
        ValueError: ``num_classes`` is not 1.
    """

    loss_prefix = 'loss_rpn_'
    predicts_dataset_classes = False

    def __init__(self, in_channels: int, num_classes: int = 1, **kwargs) -> None:
        if num_classes != 1:
            raise ValueError(
                f'CenterNetRPNHead tells objects from background: num_classes must be 1, got {num_classes}'
            )
        super().__init__(num_classes, in_channels, **kwargs)

    def build_layers(self) -> None:
        self.use_sigmoid_cls = True
        self.cls_out_channels = self.num_classes
        self.reg_convs = self.build_tower()
        self.conv_cls = nn.Conv2d(self.feat_channels, self.cls_out_channels, 3, padding=1)
        self.conv_reg = nn.Conv2d(self.feat_channels, 4, 3, padding=1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.strides)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: heat (B, 1, H, W), distances in pixels (B, 4, H, W)."""
        x = run_tower(self.reg_convs, x)
        return self.predict_maps(level, x, x)

    @torch.no_grad()
    def class_positives(self, preds: FlatPredictions, objects: InstanceData, pairs: CellPairs) -> tuple[Tensor, Tensor]:
        """The points (p,) of an image that are centers on the levels of the object's size, and their objects (p,)."""
        return (pairs.suits & pairs.is_center).nonzero(as_tuple=True)

    def scores(self, preds: FlatPredictions) -> Tensor:
        """The square root of the heat (B, N, 1), as the authors score proposals."""
        return super().scores(preds).sqrt()


def nearest_object(pairs: CellPairs) -> Tensor:
    """(N,) the object that the box of each point should be: the nearest that suits, -1 where none does."""
    if not pairs.suits.shape[1]:
        return pairs.suits.new_full((len(pairs.suits),), -1, dtype=torch.long)
    distances = pairs.heat_distances.masked_fill(~(pairs.suits & pairs.is_near), math.inf)
    least, nearest = distances.min(1)
    return torch.where(least < math.inf, nearest, -1)
