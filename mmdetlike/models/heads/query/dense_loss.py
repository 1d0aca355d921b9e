"""One-to-many losses of dense queries: Dense Distinct Query for End-to-End Object Detection, arXiv 2303.12776."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.models.losses import GIoULoss, QualityFocalLoss
from mmdetlike.models.task_modules.assigners import HungarianAssigner
from mmdetlike.structures import DetDataSample, SampleList
from mmdetlike.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps, get_box_tensor
from mmdetlike.utils.dist import mean_over_ranks

from ..common import match_queries
from .common import image_whwh

MATCH_COSTS = (
    dict(type='FocalLossCost', weight=2.0),
    dict(type='BBoxL1Cost', weight=5.0),
    dict(type='IoUCost', iou_mode='giou', weight=2.0),
)


class DenseQueryLoss:
    """Several queries learn from each object: the better one fits, the higher its score should be.

    Scores learn the alignment of score and overlap (TOOD, arXiv 2108.07755); boxes are weighted by it. There are
    ``num_pos`` queries for each object, fewer where there are not enough.
    """

    def __init__(self, num_pos: int) -> None:
        self.num_pos = num_pos
        self.assigner = HungarianAssigner(MATCH_COSTS)
        self.loss_cls = QualityFocalLoss(beta=2.0)
        self.loss_bbox = GIoULoss(loss_weight=2.0)

    def __call__(
        self, cls_score: Tensor, bbox_pred: Tensor, present: Tensor, samples: SampleList
    ) -> dict[str, list[Tensor]]:
        """Terms ``cls`` and ``bbox``, each one value for an image, of logits (B, D, classes) and boxes (B, D, 4).

        Boxes are cx, cy, w, h in [0, 1]. ``present`` (B, D) is False for what pads images with fewer queries.
        """
        of_images = []
        for logits, boxes, own, sample in zip(cls_score, bbox_pred, present, samples):
            boxes = bbox_cxcywh_to_xyxy(boxes[own]) * image_whwh(sample.img_shape, boxes)
            of_images.append(self.image_losses(logits[own], boxes, sample))
        losses_cls, losses_bbox, alignments = zip(*of_images)
        # both are means over positives, each of which counts as much as it is aligned
        divisor = mean_over_ranks(sum(alignments), cls_score.device, least=1.0)
        return dict(cls=[loss / divisor for loss in losses_cls], bbox=[loss / divisor for loss in losses_bbox])

    def image_losses(self, logits: Tensor, boxes: Tensor, sample: DetDataSample) -> tuple[Tensor, Tensor, Tensor]:
        """Sums of an image's losses and alignments, of logits (D, classes) and boxes (D, 4) xyxy in pixels."""
        queries, objects = self.assign(logits, boxes, sample)
        gt_labels = sample.gt_instances.labels[objects]
        gt_boxes = get_box_tensor(sample.gt_instances.bboxes)[objects]
        alignment = self.alignment(logits[queries], boxes[queries], gt_boxes, gt_labels, objects)
        labels = torch.full((len(logits),), logits.shape[1], device=logits.device)
        labels[queries] = gt_labels
        quality = logits.new_zeros(len(logits))
        quality[queries] = alignment
        loss_cls = self.loss_cls(logits, (labels, quality), reduction_override='sum')
        loss_bbox = self.loss_bbox(boxes[queries], gt_boxes, alignment, reduction_override='sum')
        return loss_cls, loss_bbox, alignment.sum()

    @torch.no_grad()
    def assign(self, logits: Tensor, boxes: Tensor, sample: DetDataSample) -> tuple[Tensor, Tensor]:
        """The positive queries (p,) of an image and the index of the object of each."""
        gt_instances = sample.gt_instances
        num_objects = len(gt_instances)
        # a one-to-one assignment of copies of an object gives it several queries
        copies = min(self.num_pos, len(logits) // max(num_objects, 1))
        labels = gt_instances.labels.repeat(copies)
        gt_boxes = get_box_tensor(gt_instances.bboxes).repeat(copies, 1)
        # As recorded of the original, the class cost takes probabilities for its logits: classes weigh less than boxes.
        preds = InstanceData(scores=logits.sigmoid(), bboxes=boxes)
        gts = InstanceData(labels=labels, bboxes=gt_boxes)
        ((queries, matched),) = match_queries(self.assigner, [preds], [gts], [sample])
        return queries, matched % max(num_objects, 1)

    @torch.no_grad()
    def alignment(self, logits: Tensor, boxes: Tensor, gt_boxes: Tensor, gt_labels: Tensor, objects: Tensor) -> Tensor:
        """How well each of p positives fits its object, (p,) in [0, 1].

        The best one of each object counts as much as the largest overlap of the object's queries.
        """
        scores = logits.sigmoid().gather(1, gt_labels[:, None]).squeeze(1)
        overlaps = bbox_overlaps(boxes, gt_boxes, is_aligned=True)
        metric = scores * overlaps**6  # the exponents alpha=1 and beta=6 of TOOD
        zeros = metric.new_zeros(len(objects))  # at least as many as there are objects with positives
        best_metric = zeros.scatter_reduce(0, objects, metric, 'amax')
        best_overlap = zeros.scatter_reduce(0, objects, overlaps, 'amax')
        # normalized as in TOOD; the eps is for an object whose queries all have a metric of 0
        return metric / (best_metric[objects] + 1e-7) * best_overlap[objects]
