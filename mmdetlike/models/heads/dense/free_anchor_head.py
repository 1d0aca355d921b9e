"""FreeAnchor: Learning to Match Anchors for Visual Object Detection, arXiv 1909.02466."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox_overlaps, get_box_tensor
from mmdetlike.utils.dist import mean_over_ranks

from ..common import notice_unused_assigner
from .predictions import FlatPredictions
from .retina_head import RetinaHead

# keeps logarithms of probabilities finite
EPS = torch.finfo(torch.float32).eps


@MODELS.register_module()
class FreeAnchorRetinaHead(RetinaHead):
    """A ``RetinaHead`` that assigns by likelihood: its predictions decide which of a bag of anchors learn an object.

    ``loss_bbox`` gives the likelihood of a box, ``exp(-loss)`` of its deltas. Of ``loss_cls`` only counts whether
    scores are sigmoids.

    Args:
        pre_anchor_topk: Anchors in the bag of each object: those that overlap it most.
        bbox_thr: IoU of a predicted box with an object up to which an anchor is surely background.
        gamma: Exponent of the modulating factor of the negatives' loss.
        alpha: Weight of the positives' loss; that of the negatives is ``1 - alpha``.

    Raises:
        ValueError: ``pre_anchor_topk`` is below 1, or ``reg_decoded_bbox`` is True.
    """

    loss_prefix = ''

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        pre_anchor_topk: int = 50,
        bbox_thr: float = 0.6,
        gamma: float = 2.0,
        alpha: float = 0.5,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        if pre_anchor_topk < 1:
            raise ValueError(f'pre_anchor_topk must be at least 1, got {pre_anchor_topk}')
        if self.reg_decoded_bbox:
            raise ValueError(
                'reg_decoded_bbox must be False: the loss of FreeAnchorRetinaHead compares deltas, got True'
            )
        self.pre_anchor_topk, self.bbox_thr = pre_anchor_topk, bbox_thr
        self.gamma, self.alpha = gamma, alpha
        notice_unused_assigner(type(self), self.train_cfg, 'the likelihood of predictions')

    def compute_losses(self, preds: FlatPredictions, samples: SampleList) -> dict[str, Tensor]:
        """``positive_bag_loss`` of all objects and ``negative_bag_loss`` of all anchors and classes."""
        positive = 0.0
        negative = 0.0
        num_objects = 0
        for i, sample in enumerate(samples):
            of_image = preds.of_image(i)
            objects = self.gt_instances(sample)
            positive = positive + self.positive_bag_loss(of_image, objects).sum()
            negative = negative + self.negative_bag_loss(of_image, objects).sum()
            num_objects += len(objects)
        num_objects = mean_over_ranks(num_objects, positive.device, least=1.0)
        return dict(
            positive_bag_loss=positive / num_objects,
            negative_bag_loss=negative / (num_objects * self.pre_anchor_topk),
        )

    def positive_bag_loss(self, preds: FlatPredictions, objects: InstanceData) -> Tensor:
        """Loss (m,) of an image's objects: how unlikely any anchor of their bags detects them."""
        anchors = preds.priors.boxes
        gt_bboxes = get_box_tensor(objects.bboxes)
        bag_size = min(self.pre_anchor_topk, len(anchors))
        bags = bbox_overlaps(gt_bboxes, anchors).topk(bag_size, dim=1).indices
        deltas = self.bbox_coder.encode(anchors[bags.flatten()], gt_bboxes.repeat_interleave(bag_size, dim=0))
        box_loss = self.loss_bbox(preds.bbox_pred[0][bags.flatten()], deltas, reduction_override='none').sum(-1)
        box_likelihood = (-box_loss).exp().view_as(bags)
        likelihood = self.scores(preds)[0][bags, objects.labels[:, None]] * box_likelihood
        return -self.alpha * mean_max(likelihood).clamp(min=EPS).log()

    def negative_bag_loss(self, preds: FlatPredictions, objects: InstanceData) -> Tensor:
        """Focal loss (N, C) of the anchors of an image as background, as far as their boxes are no objects."""
        is_object = self.object_probability(preds, objects)
        # below 1, where the logarithm of the complement is infinite
        wrong = (self.scores(preds)[0] * (1 - is_object)).clamp(max=1 - EPS)
        return -(1 - self.alpha) * wrong**self.gamma * (-wrong).log1p()

    @torch.no_grad()
    def object_probability(self, preds: FlatPredictions, objects: InstanceData) -> Tensor:
        """(N, C) how likely the boxes that anchors predict are objects of each class.

        It rises with the IoU from 0 at ``bbox_thr`` to 1 at the best box of each object.
        """
        boxes = self.bbox_coder.decode(preds.priors.boxes, preds.bbox_pred[0])
        overlaps = bbox_overlaps(get_box_tensor(objects.bboxes), boxes)
        # an object that no box overlaps enough gives none of them a probability
        best = overlaps.amax(1, keepdim=True).clamp(min=self.bbox_thr + EPS)
        probability = ((overlaps - self.bbox_thr) / (best - self.bbox_thr)).clamp(0, 1)
        classes = objects.labels[:, None].expand_as(probability)
        by_class = probability.new_zeros(self.num_classes, len(boxes))
        return by_class.scatter_reduce_(0, classes, probability, 'amax').T


def mean_max(likelihood: Tensor) -> Tensor:
    """The mean-max (m,) of values (m, n) in [0, 1]: their mean where all are small, their maximum where one is near 1.

    So all anchors of a bag learn at first, and the best one in the end (section 3.3 of the paper).
    """
    weight = 1 / (1 - likelihood).clamp(min=EPS)
    return (weight * likelihood).sum(1) / weight.sum(1)
