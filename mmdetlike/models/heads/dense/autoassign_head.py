"""AutoAssign: Differentiable Label Assignment for Dense Object Detection, arXiv 2007.03496."""

from dataclasses import dataclass

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.layers import Scale
from mmdetlike.models.task_modules import Priors, points_inside
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox_overlaps, geometry, get_box_tensor
from mmdetlike.utils.dist import mean_over_ranks

from ..common import TOWER_NORM, loss_normalizer, notice_unused_assigner
from .anchor_free_head import IOU_LOSS, AnchorFreeHead
from .predictions import FlatPredictions

# keeps divisions and logarithms finite
EPS = 1e-12
# points count by exp(confidence / temperature) in the loss of an object; the temperature is 1 / 3 in the paper
CONFIDENCE_SCALE = 3.0
# of an object that no point can detect
LARGEST_LOSS = 100.0


@dataclass
class Pairs:
    """The k pairs of a point and an object of an image that may belong together.

    Attributes:
        objects: (k,) indices of the m objects, rising.
        points: (k,) indices of the N points.
        labels: (k,) classes of the objects.
        weights: (k,) how near the points are to where objects of this class have their positives.
        num_objects: Number of objects, m.
    """

    objects: Tensor
    points: Tensor
    labels: Tensor
    weights: Tensor
    num_objects: int


class CenterPrior(nn.Module):
    """A learned prior of where positives lie: for each class a normal distribution around the centers of objects.

    Mean and deviation are in strides. With ``force_topk`` an object in which no point lies gets its ``topk`` most
    likely points.
    """

    def __init__(self, num_classes: int = 80, force_topk: bool = False, topk: int = 9) -> None:
        super().__init__()
        # a standard normal distribution around the center at first
        self.mean = nn.Parameter(torch.zeros(num_classes, 2))
        self.sigma = nn.Parameter(torch.ones(num_classes, 2))
        self.force_topk, self.topk = force_topk, topk

    def forward(self, priors: Priors, objects: InstanceData) -> Pairs:
        """Pairs of N points and those of m objects in which they lie."""
        boxes = get_box_tensor(objects.bboxes)
        labels = objects.labels
        inside = points_inside(priors.points, boxes)
        if self.force_topk and len(boxes):
            with torch.no_grad():  # a choice of points, through which nothing is learned
                offsets = (priors.points[:, None] - geometry.centers(boxes)) / priors.strides[:, None]
                likely = self.density(offsets, labels)
            best = likely.topk(min(self.topk, len(likely)), dim=0).indices
            inside = torch.where(inside.any(0), inside, torch.zeros_like(inside).scatter_(0, best, True))
        object_inds, point_inds = inside.T.nonzero(as_tuple=True)
        offsets = priors.points[point_inds] - geometry.centers(boxes)[object_inds]
        pair_labels = labels[object_inds]
        weights = self.density(offsets / priors.strides[point_inds], pair_labels)
        return Pairs(object_inds, point_inds, pair_labels, weights, len(boxes))

    def density(self, offsets: Tensor, labels: Tensor) -> Tensor:
        """Density (..., k) of positives at ``offsets`` (..., k, 2), in strides, from the centers of classes (k,)."""
        distances = offsets - self.mean[labels]
        return (-distances.square() / (2 * self.sigma[labels].square())).exp().prod(-1)


@MODELS.register_module()
class AutoAssignHead(AnchorFreeHead):
    """Predict classes, distances and objectness of points; each object learns in all points inside, by soft weights.

    Args:
        force_topk, topk: Let an object in which no point lies learn in the ``topk`` points that are most likely.
        pos_loss_weight, neg_loss_weight: Weights of the losses of objects and of background.
        center_loss_weight: Weight of the loss that keeps center priors from vanishing.
        loss_bbox: Loss of decoded boxes, whose likelihood is ``exp(-loss)``.
        kwargs: See ``AnchorFreeHead``; of ``loss_cls`` only counts whether scores are sigmoids.
    """

    map_names = ('cls_score', 'bbox_pred', 'centerness')
    default_init = dict(
        type='Normal',
        layer='Conv2d',
        std=0.01,
        override=[
            dict(type='Normal', name='conv_cls', std=0.01, bias_prob=0.02),
            # boxes of eight strides at first, which overlap objects
            dict(type='Normal', name='conv_reg', std=0.01, bias=4.0),
        ],
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        force_topk: bool = False,
        topk: int = 9,
        pos_loss_weight: float = 0.25,
        neg_loss_weight: float = 0.75,
        center_loss_weight: float = 0.75,
        norm_cfg: dict | None = TOWER_NORM,
        loss_bbox: dict = IOU_LOSS,
        strides: list[int] = (4, 8, 16, 32, 64),
        **kwargs,
    ) -> None:
        # points at the corners of cells, as the authors have it
        corners = dict(type='MlvlPointGenerator', strides=strides, offset=0.0)
        parts = dict(strides=strides, prior_generator=corners, conv_bias=True, norm_cfg=norm_cfg, loss_bbox=loss_bbox)
        super().__init__(num_classes, in_channels, **parts, **kwargs)
        self.pos_loss_weight, self.neg_loss_weight = pos_loss_weight, neg_loss_weight
        self.center_loss_weight = center_loss_weight
        self.center_prior = CenterPrior(num_classes, force_topk, topk)
        notice_unused_assigner(type(self), self.train_cfg, 'weights that it learns')

    def build_layers(self) -> None:
        super().build_layers()
        self.conv_centerness = nn.Conv2d(self.feat_channels, 1, 3, padding=1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.strides)

    def predict_maps(self, level: int, cls_feat: Tensor, reg_feat: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes, distances in pixels and the logit of objectness."""
        distances = self.scales[level](self.conv_reg(reg_feat)).float().clamp(min=0) * self.strides[level]
        return self.conv_cls(cls_feat), distances, self.conv_centerness(reg_feat)

    def compute_losses(self, preds: FlatPredictions, samples: SampleList) -> dict[str, Tensor]:
        """``pos`` of objects, ``neg`` of all points and classes, ``center`` of the center priors."""
        positive = []
        negative = []
        center = []
        weights = []
        num_objects = 0
        for i, sample in enumerate(samples):
            of_image = preds.of_image(i)
            objects = self.gt_instances(sample)
            pairs = self.center_prior(of_image.priors, objects)
            boxes = self.bbox_coder.decode(of_image.priors.points, of_image.bbox_pred[0])
            scores = self.scores(of_image)[0] * of_image.centerness[0].sigmoid()
            gt_boxes = get_box_tensor(objects.bboxes)
            positive.append(self.positive_loss(scores, boxes, gt_boxes, pairs).sum())
            negative.append(negative_loss(scores * background_weights(scores, boxes, gt_boxes, pairs)).sum())
            center.append(center_loss(pairs))
            weights.append(pairs.weights)
            num_objects += pairs.num_objects
        device = preds.cls_score.device
        return dict(
            pos=self.pos_loss_weight * sum(positive) / mean_over_ranks(num_objects, device, least=1.0),
            neg=self.neg_loss_weight * sum(negative) / loss_normalizer(torch.cat(weights)),
            center=self.center_loss_weight * torch.stack(center).mean(),
        )

    def positive_loss(self, scores: Tensor, boxes: Tensor, gt_boxes: Tensor, pairs: Pairs) -> Tensor:
        """Loss (m,) of objects with ``gt_boxes`` (m, 4): how unlikely it is that their points detect them.

        ``scores`` (N, C) and ``boxes`` (N, 4) are what all points predict.
        """
        box_loss = self.loss_bbox(boxes[pairs.points], gt_boxes[pairs.objects], reduction_override='none')
        likelihood = scores[pairs.points, pairs.labels] * (-box_loss).exp()
        # the exponential lets the loss of an object depend on its few best points in the end
        weights = (likelihood * CONFIDENCE_SCALE).exp() * pairs.weights
        zeros = weights.new_zeros(pairs.num_objects)
        totals = zeros.index_add(0, pairs.objects, weights).clamp(min=EPS)
        of_objects = zeros.index_add(0, pairs.objects, likelihood * weights) / totals
        can_be_learned = of_objects > 0  # where not, the logarithm would have an infinite gradient
        logarithms = torch.where(can_be_learned, of_objects, 1.0).log()
        return torch.where(can_be_learned, -logarithms, LARGEST_LOSS)


@torch.no_grad()
def background_weights(scores: Tensor, boxes: Tensor, gt_boxes: Tensor, pairs: Pairs) -> Tensor:
    """Weights (N, C) of points as background of each class: less where a point's box is among an object's best."""
    weights = torch.ones_like(scores)
    if not len(pairs.points):
        return weights
    ious = bbox_overlaps(boxes, gt_boxes).amax(1)[pairs.points]
    # scaled to [0, 1] within each object: the best of its boxes is no background, however bad it still is
    quality = 1 / (1 - ious).clamp(min=EPS)
    of_objects = quality.new_zeros(pairs.num_objects)
    worst = of_objects.scatter_reduce(0, pairs.objects, quality, 'amin', include_self=False)[pairs.objects]
    best = of_objects.scatter_reduce(0, pairs.objects, quality, 'amax', include_self=False)[pairs.objects]
    weights[pairs.points, pairs.labels] = 1 - (quality - worst + EPS) / (best - worst + EPS)
    return weights


def negative_loss(scores: Tensor) -> Tensor:
    """Focal loss of scores in [0, 1] that should be 0, with the exponent 2."""
    # a score of 1 would have an infinite loss
    return -scores.square() * (-scores).clamp(min=-1 + torch.finfo(scores.dtype).eps).log1p()


def center_loss(pairs: Pairs) -> Tensor:
    """Loss of the center priors of an image: small where they find points inside of objects likely."""
    total = pairs.weights.sum()
    # 0 with a gradient of 0 where no point lies in any object
    return pairs.num_objects / total.clamp(min=EPS) if len(pairs.weights) else total
