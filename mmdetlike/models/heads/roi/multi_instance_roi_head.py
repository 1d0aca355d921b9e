"""CrowdDet: Detection in Crowded Scenes: One Proposal, Multiple Predictions, arXiv 2003.09163."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures.bbox import bbox_overlaps

from .bbox_heads import ConvFCBBoxHead
from .bbox_heads.bbox_head import build_linear
from .roi_head import StandardRoIHead

# a prediction is shown to the refining layers so often, to weigh something beside a thousand features
REPEATS = 4
PREDICTION_WIDTH = 5
# unlike in other heads background is the first class
BACKGROUND = 0
FOREGROUND = slice(1, None)


@MODELS.register_module()
class MultiInstanceBBoxHead(ConvFCBBoxHead):
    """Classes and boxes of several objects for each region.

    Which prediction learns which object is decided for each region by the smaller loss (earth mover's distance).
    Predictions of one region don't suppress each other. Preds are class logits (n, num_instance, num_classes + 1) and
    deltas (n, num_instance, 4 * num_classes), then those that were refined.

    Args:
        num_instance: Objects of one region.
        with_refine: Predict again from the features together with the first predictions.
        num_shared_fcs: Shared linear layers.
        kwargs: See ``ConvFCBBoxHead``; losses have ``reduction='none'``.

    Raises:
        ConfigError: There are no shared linear layers to refine from.
    """

    takes_objectness = False

    def __init__(self, num_instance: int = 2, with_refine: bool = False, num_shared_fcs: int = 2, **kwargs) -> None:
        if with_refine and num_shared_fcs < 1:
            raise ConfigError(f'with_refine needs shared linear layers, got num_shared_fcs={num_shared_fcs}')
        self.num_instance, self.with_refine = num_instance, with_refine
        super().__init__(num_shared_fcs=num_shared_fcs, **kwargs)

    def build_predictors(self, cls_in: int, reg_in: int) -> None:
        """Build ``fc_cls``, ``fc_reg`` and, to refine, ``shared_fcs_ref``, ``fc_cls_ref``, ``fc_reg_ref``."""
        self.fc_cls = self._for_instances(self.cls_predictor_cfg, cls_in, self.num_classes + 1)
        boxes = 1 if self.reg_class_agnostic else self.num_classes
        self.fc_reg = self._for_instances(self.reg_predictor_cfg, reg_in, 4 * boxes)
        if self.with_refine:
            self.shared_fcs_ref = nn.Linear(cls_in + REPEATS * PREDICTION_WIDTH, cls_in)
            self.fc_cls_ref = self._for_instances(self.cls_predictor_cfg, cls_in, self.num_classes + 1)
            self.fc_reg_ref = self._for_instances(self.reg_predictor_cfg, cls_in, 4 * boxes)

    def _for_instances(self, cfg: dict | None, in_features: int, out_features: int) -> nn.ModuleList:
        return nn.ModuleList(build_linear(cfg, in_features, out_features) for _ in range(self.num_instance))

    def predict_from_shared(self, x: Tensor) -> tuple[Tensor, ...]:
        """Shared features (n, c) -> preds."""
        logits = torch.stack([layer(x) for layer in self.fc_cls], dim=1)
        deltas = torch.stack([layer(x) for layer in self.fc_reg], dim=1)
        if not self.with_refine:
            return logits, deltas
        refined = []
        for i in range(self.num_instance):
            shown = self._shown(logits[:, i], deltas[:, i])
            features = F.relu(self.shared_fcs_ref(torch.cat([x, shown.repeat(1, REPEATS)], dim=1)))
            refined.append((self.fc_cls_ref[i](features), self.fc_reg_ref[i](features)))
        refined_logits, refined_deltas = (torch.stack(columns, dim=1) for columns in zip(*refined))
        return logits, deltas, refined_logits, refined_deltas

    def _shown(self, logits: Tensor, deltas: Tensor) -> Tensor:
        """The deltas and the score (n, 5) of the likeliest class, what the refining layers see of a prediction."""
        scores, labels = logits.softmax(1)[:, FOREGROUND].max(1)
        return torch.cat([self.deltas_of_class(deltas, labels), scores[:, None]], dim=1)

    def merge_stages(self, preds_of_stages: Sequence[tuple]) -> tuple:
        """What is predicted in testing: the last preds, the refined ones if there are such."""
        return preds_of_stages[-1][-2:]

    # -- training ----------------------------------------------------------------------------------------------------

    def loss(self, preds: tuple, sampled: Sequence[SamplingResult], cfg: ConfigDict) -> dict[str, Tensor]:
        labels, targets = (torch.cat(columns) for columns in zip(*(self.instance_targets(image) for image in sampled)))
        losses = dict(loss_rcnn_emd=self.emd_loss(*preds[:2], labels, targets))
        if self.with_refine:
            losses['loss_rcnn_emd_ref'] = self.emd_loss(*preds[2:], labels, targets)
        return losses

    def instance_targets(self, sampled: SamplingResult) -> tuple[Tensor, Tensor]:
        """Labels (n, num_instance) and deltas (n, num_instance, 4), for ``emd_loss``, of an image's regions."""
        inds = torch.cat([sampled.pos_inds, sampled.neg_inds])
        gt_inds = sampled.assign_result.gt_inds_of_instances[inds]
        is_object = gt_inds > 0
        labels = torch.where(is_object, sampled.assign_result.labels_of_instances[inds] + 1, gt_inds)
        priors = sampled.priors[inds][:, None].expand(-1, self.num_instance, 4)
        targets = torch.zeros_like(priors)
        targets[is_object] = self.bbox_coder.encode(priors[is_object], sampled.gt_bboxes[gt_inds[is_object] - 1])
        return labels, targets

    def emd_loss(self, logits: Tensor, deltas: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        """The mean over regions of the smallest loss among the orders of the objects.

        Predictions are as in the preds; of the objects ``labels`` (n, num_instance) are 0 for background, classes
        counted from 1, and -1 for none to learn, ``targets`` (n, num_instance, 4) their deltas.
        """
        logits, deltas = float32_if_half(logits, deltas)
        if not len(labels):
            return (logits.sum() + deltas.sum()) * 0
        losses = []
        for shift in range(self.num_instance):
            order = (labels.roll(shift, dims=1), targets.roll(shift, dims=1))
            losses.append(self._losses_of_pairs(logits, deltas, *order).sum(1))
        return torch.stack(losses).amin(0).mean()

    def _losses_of_pairs(self, logits: Tensor, deltas: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        """The loss (n, num_instance) of each prediction with the object of the same index."""
        known = labels.clamp(min=BACKGROUND)
        losses = self.loss_cls(logits.flatten(0, 1), known.flatten(), reduction_override='none').view(labels.shape)
        of_class = self.deltas_of_class(deltas, (known - 1).clamp(min=0))
        box_losses = self.loss_bbox(of_class, targets, reduction_override='none').sum(-1)
        return losses * (labels >= BACKGROUND) + box_losses * (labels > BACKGROUND)

    # -- testing -----------------------------------------------------------------------------------------------------

    def detect(self, rois: Tensor, preds: tuple, img_shape: tuple[int, int], cfg: ConfigDict) -> dict[str, Tensor]:
        logits, deltas = float32_if_half(*preds)
        all_scores = scores = logits.softmax(-1)[..., FOREGROUND]
        region, instance, labels = (scores > cfg.score_thr).nonzero(as_tuple=True)
        moved = self.deltas_of_class(deltas[region, instance], labels)
        boxes = self.bbox_coder.decode(rois[region, 1:], moved, max_shape=img_shape)
        scores = scores[region, instance, labels]
        kept = set_nms(boxes, scores, region, labels, cfg.nms.iou_threshold)
        if cfg.max_per_img > 0:
            kept = kept[: cfg.max_per_img]
        found = dict(bboxes=boxes[kept], scores=scores[kept], labels=labels[kept])
        if cfg.get('return_all_scores', False):
            found['all_scores'] = all_scores[region, instance][kept]
        return found


def set_nms(boxes: Tensor, scores: Tensor, regions: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes (n, 4) xyxy that stay, in their order: better ones suppress others by their overlap.

    Predictions of one of the ``regions`` (n,) are different objects and don't suppress each other, nor do boxes of
    different classes ``labels`` (n,), nor those that overlap by no more than ``iou_threshold``.
    """
    overlaps = bbox_overlaps(boxes, boxes) > iou_threshold
    suppresses = overlaps & (regions[:, None] != regions) & (labels[:, None] == labels)
    # the decisions depend on each other: one transfer in place of one a box
    suppresses = suppresses.cpu().numpy()
    order = scores.argsort(descending=True).tolist()
    keep = suppresses.any(axis=0) | True
    for i in order:
        if keep[i]:
            keep &= ~suppresses[i]
    return torch.from_numpy(keep).to(boxes.device).nonzero().squeeze(1)


@MODELS.register_module()
class MultiInstanceRoIHead(StandardRoIHead):
    """A region head that predicts several objects for each proposal.

    Args:
        num_instance: Objects of one proposal.
        kwargs: See ``StandardRoIHead``; ``bbox_head`` is a ``MultiInstanceBBoxHead``, the assigner a
            ``MultiInstanceAssigner``.

    Raises:
        ConfigError: ``bbox_head`` predicts another number of objects, or branches are to learn at predicted boxes.
    """

    def __init__(self, num_instance: int = 2, **kwargs) -> None:
        super().__init__(**kwargs)
        head = self.bbox_head
        if not isinstance(head, MultiInstanceBBoxHead) or head.num_instance != num_instance:
            raise ConfigError(
                f'MultiInstanceRoIHead needs a MultiInstanceBBoxHead with num_instance={num_instance}, got '
                f'{type(head).__name__} with num_instance={getattr(head, "num_instance", None)}'
            )
        if self.branches and self.stage_cfgs[0].get('train_on_pred_boxes', False):
            raise ConfigError(
                'MultiInstanceRoIHead: train_cfg.rcnn.train_on_pred_boxes=True needs one box for each region, but '
                f'{type(head).__name__} predicts num_instance={num_instance}'
            )
