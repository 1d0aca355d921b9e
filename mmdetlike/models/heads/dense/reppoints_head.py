"""RepPoints: Point Set Representation for Object Detection, arXiv 1904.11490."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmdetlike.models.task_modules import Priors
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import geometry
from mmdetlike_ops import DeformConv2d

from ..common import FOCAL_LOSS, rare_classes_init
from .anchor_free_head import AnchorFreeHead
from .predictions import DenseTargets, FlatPredictions, LevelTerm, LossTerms, positive_term

TRANSFORMS = ('minmax', 'partial_minmax', 'moment')


@MODELS.register_module()
class RepPointsHead(AnchorFreeHead):
    """Predict a set of points for each object, then refine them by the features at these points.

    A box is made of the points as ``transform_method`` says.

    Args:
        point_feat_channels: Channels of the layers between towers and predictions.
        num_points: Points of an object, the taps of a deformable convolution: the square of an odd number above 1.
        gradient_mul: Share of the gradient that the first points receive through that convolution.
        point_strides: Stride of each level in pixels.
        point_base_scale: Unit of the losses, and side of the first box around a point, in strides.
        loss_bbox_init, loss_bbox_refine: Losses of the boxes of the first and of the refined points.
        use_grid_points: Predict boxes, in which the points form a regular grid.
        center_init: Points start at the cell, not on a grid around it.
        transform_method: Boxes of points: ``'minmax'`` encloses all of them, ``'partial_minmax'`` the first four,
            ``'moment'`` is their mean and a learned multiple of their standard deviation.
        moment_mul: Share of the gradient that this multiple receives.
        kwargs: See ``AnchorFreeHead``. ``train_cfg`` has an ``assigner`` each for ``init``, of the boxes around the
            cells, and ``refine``, of the boxes of the first points.

    Raises:
        ValueError: ``num_points`` or ``transform_method`` has none of the values named, or ``train_cfg`` lacks a part.
    """

    map_names = ('cls_score', 'points_init', 'points_refine')
    default_init = rare_classes_init('reppoints_cls_out')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        point_feat_channels: int = 256,
        num_points: int = 9,
        gradient_mul: float = 0.1,
        point_strides: Sequence[int] = (8, 16, 32, 64, 128),
        point_base_scale: float = 4,
        loss_cls: dict = FOCAL_LOSS,
        loss_bbox_init: dict = dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=0.5),  # noqa: B006
        loss_bbox_refine: dict = dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0),  # noqa: B006
        use_grid_points: bool = False,
        center_init: bool = True,
        transform_method: str = 'moment',
        moment_mul: float = 0.01,
        **kwargs,
    ) -> None:
        self.kernel_size = math.isqrt(num_points)
        if self.kernel_size**2 != num_points or self.kernel_size % 2 == 0 or num_points == 1:
            raise ValueError(f'num_points must be the square of an odd number above 1, got {num_points}')
        if transform_method not in TRANSFORMS:
            raise ValueError(f'transform_method must be one of {TRANSFORMS}, got {transform_method!r}')
        self.point_feat_channels, self.use_grid_points = point_feat_channels, use_grid_points
        self.transform_method, self.moment_mul = transform_method, moment_mul
        corners = dict(type='MlvlPointGenerator', strides=point_strides, offset=0.0)
        parts = dict(strides=point_strides, prior_generator=corners, loss_cls=loss_cls, loss_bbox=loss_bbox_init)
        super().__init__(num_classes, in_channels, **parts, **kwargs)
        self.loss_bbox_refine = MODELS.build(loss_bbox_refine)
        self.gradient_mul, self.center_init = gradient_mul, center_init
        self.point_base_scale = point_base_scale
        if self.train_cfg and not {'init', 'refine'} <= set(self.train_cfg):
            raise ValueError(f"train_cfg needs 'init' and 'refine', but has {list(self.train_cfg)}")
        stages = {stage: cfg for stage, cfg in self.train_cfg.items() if stage in ('init', 'refine')}
        self.assigners = {stage: self.build_assigner(cfg.assigner) for stage, cfg in stages.items()}

    def build_layers(self) -> None:
        width = self.point_feat_channels
        num_taps = self.kernel_size**2
        num_out = 4 if self.use_grid_points else 2 * num_taps
        taps = dict(kernel_size=self.kernel_size, padding=self.kernel_size // 2)
        if self.transform_method == 'moment':
            self.moment_transfer = nn.Parameter(torch.zeros(2))
        self.cls_convs = self.build_tower()
        self.reg_convs = self.build_tower()
        self.reppoints_cls_conv = DeformConv2d(self.feat_channels, width, **taps)
        self.reppoints_cls_out = nn.Conv2d(width, self.cls_out_channels, 1)
        self.reppoints_pts_init_conv = nn.Conv2d(self.feat_channels, width, 3, padding=1)
        self.reppoints_pts_init_out = nn.Conv2d(width, num_out, 1)
        self.reppoints_pts_refine_conv = DeformConv2d(self.feat_channels, width, **taps)
        self.reppoints_pts_refine_out = nn.Conv2d(width, num_out, 1)

    def predict_maps(self, level: int, cls_feat: Tensor, reg_feat: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes, and points (B, 2 * num_points, H, W) before and after they are refined.

        Points are y, x one after another, relative to the cell, in strides.
        """
        first = self.reppoints_pts_init_out(self.reppoints_pts_init_conv(reg_feat).relu()).float()
        start = square(self.point_base_scale / 2, first)
        if self.use_grid_points:
            box = move_boxes(start, first)
            points = regular_grid(box, self.kernel_size)
        else:
            points = first if self.center_init else first + regular_grid(start, self.kernel_size)
        # a deformable convolution takes offsets from its regular taps, the points are relative to the cell
        regular_taps = regular_grid(square(self.kernel_size // 2, first), self.kernel_size)
        # the same values, of whose gradient only a share reaches the first points
        taps = (1 - self.gradient_mul) * points.detach() + self.gradient_mul * points
        offset = (taps - regular_taps).to(reg_feat.dtype)
        cls_score = self.reppoints_cls_out(self.reppoints_cls_conv(cls_feat, offset).relu())
        second = self.reppoints_pts_refine_out(self.reppoints_pts_refine_conv(reg_feat, offset).relu()).float()
        if self.use_grid_points:
            return cls_score, points, regular_grid(move_boxes(box.detach(), second), self.kernel_size)
        return cls_score, points, second + points.detach()

    def compute_losses(self, preds: FlatPredictions, samples: SampleList) -> LossTerms:
        """``cls`` over all points, ``pts_init`` and ``pts_refine`` over positives, one value a level."""
        # the first assignment is by the center of a square around each point, the second one by predicted boxes
        reach = preds.priors.strides * (self.point_base_scale / 2)
        start = torch.cat([preds.priors.points - reach, preds.priors.points + reach], dim=-1)
        first_boxes = self.boxes(preds.points_init, preds.priors)
        init = self.targets(preds, samples, assigner=self.assigners['init'], priors=preds.priors.moved_to(start))
        moved = preds.priors.moved_to(first_boxes.detach())
        refine = self.targets(preds, samples, assigner=self.assigners['refine'], priors=moved)
        second_boxes = self.boxes(preds.points_refine, preds.priors)
        init_term = self.box_term(first_boxes, init, self.loss_bbox)
        refine_term = self.box_term(second_boxes, refine, self.loss_bbox_refine)
        return {
            **self.losses_by_level(preds, init, pts_init=init_term),
            **self.losses_by_level(preds, refine, cls=self.class_term(preds, refine), pts_refine=refine_term),
        }

    def box_term(self, boxes: Tensor, targets: DenseTargets, loss_bbox: nn.Module) -> LevelTerm:
        """``loss_bbox`` of the positives of ``boxes`` (B, N, 4), in units of ``point_base_scale`` strides."""
        unit = self.point_base_scale * targets.pos_priors.strides[:, :1]
        pred = boxes.flatten(0, 1)[targets.pos_inds] / unit
        gt = targets.pos_gt_bboxes / unit
        return positive_term(loss_bbox, pred, gt, avg_factor=targets.avg_factor)

    def boxes(self, points: Tensor, priors: Priors) -> Tensor:
        """Boxes (..., n, 4) xyxy in pixels of points (..., n, 2 * num_points) that ``priors`` (n) predict."""
        strides = priors.strides.repeat(1, 2)
        return self.enclose(points.unflatten(-1, (-1, 2)).flip(-1)) * strides + priors.points.repeat(1, 2)

    def enclose(self, points: Tensor) -> Tensor:
        """The boxes (..., 4) xyxy of points (..., num_points, 2) x, y, as ``transform_method`` says."""
        if self.transform_method == 'minmax':
            return geometry.around_points(points)
        if self.transform_method == 'partial_minmax':
            return geometry.around_points(points[..., :4, :])
        transfer = self.moment_transfer
        # the same value, of whose gradient only the share `moment_mul` is learned from
        transfer = transfer * self.moment_mul + transfer.detach() * (1 - self.moment_mul)
        center = points.mean(-2)
        # the standard deviation, with a gradient of 0 where it is 0
        spread = (points - center.unsqueeze(-2)).norm(dim=-2) / math.sqrt(points.shape[-2] - 1)
        half = spread * transfer.exp()
        return torch.cat([center - half, center + half], dim=-1)

    def decode(self, preds: FlatPredictions, index: int, inds: Tensor, img_shape: tuple[int, int] | None) -> Tensor:
        """The boxes of the refined points, clipped to the image."""
        boxes = self.boxes(preds.points_refine[index][inds], preds.priors.of_image(index)[inds])
        return boxes if img_shape is None else geometry.clip(boxes, img_shape)


def square(reach: float, like: Tensor) -> Tensor:
    """The square box (1, 4, 1, 1) xyxy around the origin, whose sides are ``reach`` away from it."""
    return like.new_tensor([-reach, -reach, reach, reach]).view(1, 4, 1, 1)


def move_boxes(boxes: Tensor, deltas: Tensor) -> Tensor:
    """Move boxes (B, 4, H, W) xyxy by deltas (B, 4, H, W): dx, dy in shares of a side, and log-scaled growth."""
    low, high = boxes.chunk(2, dim=1)
    # a predicted box may have no area, and must be able to grow again
    sides = (high - low).clamp(min=1e-6)
    shift, growth = deltas.chunk(2, dim=1)
    center = (low + high) / 2 + sides * shift
    half = sides * growth.exp() / 2
    return torch.cat([center - half, center + half], dim=1)


def regular_grid(boxes: Tensor, count: int) -> Tensor:
    """Points (B, 2 * count * count, H, W) on a grid over boxes (B, 4, H, W): y then x of each, row by row."""
    x1, y1, x2, y2 = boxes.unbind(1)
    steps = [i / (count - 1) for i in range(count)]
    points = [(y1 + (y2 - y1) * down, x1 + (x2 - x1) * across) for down in steps for across in steps]
    return torch.stack([coordinate for point in points for coordinate in point], dim=1)
