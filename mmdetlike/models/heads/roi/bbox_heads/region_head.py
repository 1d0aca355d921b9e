"""The base of heads that classify regions and refine their boxes."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from torch import Tensor

from mmdetlike.models.losses import accuracy
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils import suppress_boxes
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import geometry
from mmdetlike.utils.dist import mean_over_ranks

from ...head import check_num_classes
from ..stage import positives_among


class RegionHead(BaseModule):
    """What a stage of a region head asks of the head that classifies its regions and refines their boxes.

    What ``forward`` returns ("preds") is the head's own affair: a stage only hands it on to the other methods.

    Args:
        num_classes: Classes without background.
        loss_cls: Classification loss over classes and background, background last.

    Raises:
        ValueError: ``num_classes`` is below 1.

    Attributes:
        box_dim: Numbers of the boxes that it makes of regions: 4, or 5 for rotated ones.
        takes_objectness: Whether ``detect`` does, as ``test_cfg.rcnn.mult_proposal_score`` asks for.
    """

    box_dim = geometry.HORIZONTAL
    takes_objectness = True

    def __init__(self, num_classes: int, loss_cls: dict, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg)
        check_num_classes(num_classes)
        self.num_classes = num_classes
        self.loss_cls = MODELS.build(loss_cls)

    def split(self, preds: tuple, counts: Sequence[int]) -> list[tuple]:
        """The preds of each image, of which ``counts`` says how many regions it has."""
        columns = [[None] * len(counts) if pred is None else pred.split(counts) for pred in preds]
        return list(zip(*columns))

    def merge_stages(self, preds_of_stages: Sequence[tuple]) -> tuple:
        """What is predicted in testing: the last stage's preds, with the mean class logits of all stages."""
        # each stage's logits are of the region as that stage had it; in the paper all heads look at the last boxes, but
        # published checkpoints were scored so, without running each head once more
        cls_score = sum(preds[0] for preds in preds_of_stages) / len(preds_of_stages)
        return (cls_score, *preds_of_stages[-1][1:])

    def loss(self, preds: tuple, sampled: Sequence[SamplingResult], cfg: ConfigDict) -> dict[str, Tensor]:
        """Loss terms of the sampled regions, the positives of an image before its negatives, image by image.

        Args:
            preds: What ``forward`` returned for them.
            sampled: What was sampled from each image.
            cfg: ``pos_weight`` of ``train_cfg.rcnn``.
        """
        raise NotImplementedError

    def classification_losses(self, preds: tuple, labels: Tensor) -> Tensor:
        """The classification loss (n,) of each region, whose class ``labels`` (n,) is -1 for background."""
        cls_score = float32_if_half(preds[0])[0]
        labels = torch.where(labels < 0, self.num_classes, labels)
        return self.loss_cls(cls_score, labels, reduction_override='none')

    def classification_terms(self, cls_score: Tensor, labels: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """Classification loss and accuracy of logits (n, num_classes + 1) against ``labels`` (n,)."""
        cls_score = float32_if_half(cls_score)[0]
        # at least 1: there may be images without proposals on all ranks
        avg_factor = mean_over_ranks((weights > 0).sum(dtype=cls_score.dtype), labels.device, least=1.0)
        loss = self.loss_cls(cls_score, labels, weights, avg_factor=avg_factor)
        losses = dict(loss) if isinstance(loss, dict) else dict(loss_cls=loss)
        if getattr(self.loss_cls, 'custom_accuracy', False):
            return {**losses, **self.loss_cls.get_accuracy(cls_score, labels)}
        return dict(losses, acc=accuracy(cls_score, labels))

    def classification_targets(
        self, sampled: Sequence[SamplingResult], pos_weight: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Labels (n,), weights (n,) and indices of the positives (p,) of all sampled regions."""
        labels = []
        for result in sampled:
            background = result.neg_inds.new_full((len(result.neg_inds),), self.num_classes)
            labels += [result.pos_gt_labels, background]
        labels = torch.cat(labels)
        is_pos = positives_among(sampled)
        weights = torch.cat([result.class_weights for result in sampled])
        if pos_weight > 0:
            weights = torch.where(is_pos, weights * pos_weight, weights)
        return labels, weights, is_pos.nonzero().squeeze(1)

    def detect(
        self,
        rois: Tensor,
        preds: tuple,
        img_shape: tuple[int, int],
        cfg: ConfigDict,
        objectness: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Select, decode and suppress: from the regions of one image to its boxes, of tensors alone.

        Args:
            rois: (n, 5) image index and xyxy in pixels.
            preds: The image's preds.
            img_shape: Height and width that boxes stay within, in pixels of the network's input.
            cfg: ``score_thr``, ``nms`` and ``max_per_img``. Boxes with a side of no more than ``min_bbox_size`` pixels,
                where it is given, are left out before these, and with one of no more than ``drop_small`` after them.
            objectness: (n,) scores of the regions as proposals, if they count: a score is then the geometric mean of
                that of the proposal and that of the class, by Probabilistic Two-stage Detection, arXiv 2103.07461.

        Returns:
            ``bboxes`` (k, 4) xyxy, ``scores`` (k,) falling, ``labels`` (k,); with ``return_all_scores``,
            ``all_scores`` (k, num_classes) of their regions, too.
        """
        all_scores = self.region_scores(preds)[:, :-1]
        if objectness is not None:
            all_scores = (all_scores * objectness[:, None]).sqrt()
        scores = all_scores
        roi_inds, labels = (scores > cfg.score_thr).nonzero(as_tuple=True)
        boxes, factors = self.decode(rois[roi_inds, 1:], self.take(preds, roi_inds), labels, img_shape)
        scores = scores[roi_inds, labels]
        if factors is not None:
            scores = scores * factors
        if cfg.get('min_bbox_size', -1) >= 0:
            large = geometry.is_larger(boxes, cfg.min_bbox_size)
            boxes, scores, labels, roi_inds = (values[large] for values in (boxes, scores, labels, roi_inds))
        boxes, scores, kept = suppress_boxes(boxes, scores, labels, cfg.nms, cfg.max_per_img)
        found = dict(bboxes=boxes, scores=scores, labels=labels[kept])
        if cfg.get('return_all_scores', False):
            found['all_scores'] = all_scores[roi_inds[kept]]
        return drop_small(found, cfg)

    def decode(
        self, boxes: Tensor, preds: tuple, labels: Tensor, img_shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor | None]:
        """Refine boxes by the predictions of one class each.

        Args:
            boxes: (n, 4) xyxy, the regions.
            preds: Preds of these regions.
            labels: (n,) the class of each.
            img_shape: Height and width that boxes stay within.

        Returns:
            Boxes (n, 4) and factors (n,) of their scores, None for 1.
        """
        raise NotImplementedError

    @staticmethod
    def take(preds: tuple, inds: Tensor | slice) -> tuple:
        """The preds of the regions ``inds`` (k,), or of a slice of them."""
        return tuple(None if pred is None else pred[inds] for pred in preds)

    def region_scores(self, preds: tuple) -> Tensor:
        """Scores (n, num_classes + 1) of regions, background last, of their preds."""
        return self.probabilities(float32_if_half(preds[0])[0])

    def probabilities(self, cls_score: Tensor) -> Tensor:
        """Probabilities (n, num_classes + 1), background last, of logits; ``loss_cls`` knows them if it is special."""
        if getattr(self.loss_cls, 'custom_activation', False):
            return self.loss_cls.get_activation(cls_score)
        return F.softmax(cls_score, dim=-1)

    def refine(self, rois: Tensor, preds: tuple, labels: Tensor, img_shape: tuple[int, int]) -> Tensor:
        """The next stage's boxes (n, 4) of one image, whose regions in this stage are ``rois`` (n, 5).

        ``labels`` (n,) are the classes that they are refined as, -1 for the likeliest one, background left out.
        """
        # logits may have further columns, of background or of a loss's own
        likeliest = preds[0][:, : self.num_classes].argmax(1)
        labels = torch.where(labels < 0, likeliest, labels)
        return self.decode(rois[:, 1:], preds, labels, img_shape)[0]


def drop_small(image: dict[str, Tensor], cfg: ConfigDict) -> dict[str, Tensor]:
    """Leave out results with a side of no more than ``cfg.drop_small`` pixels; all are kept where it isn't given."""
    if cfg.get('drop_small', -1) < 0:
        return image
    kept = geometry.is_larger(image['bboxes'], cfg.drop_small)
    return {name: values[kept] for name, values in image.items()}
