"""Fusion of the boxes that several models find in one image."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ._checks import check_choice, check_float, check_range, check_shape, check_vector

_OP = 'weighted_boxes_fusion'
_CONF_TYPES = ('avg', 'max', 'box_and_model_avg', 'absent_model_aware_avg')


def weighted_boxes_fusion(
    bboxes_list: Sequence[Tensor],
    scores_list: Sequence[Tensor],
    labels_list: Sequence[Tensor],
    weights: Sequence[float] | None = None,
    iou_thr: float = 0.55,
    skip_box_thr: float = 0.0,
    conf_type: str = 'avg',
    allows_overflow: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted boxes fusion (arXiv 1910.13302): boxes of one object become their mean, weighted by score.

    Boxes join, by falling score times weight of their model, the fused box of their class that they overlap most, if
    by more than `iou_thr`; else they begin a new one.

    Args:
        bboxes_list: Of each model, (n_i, 4) xyxy, in pixels or relative to the image.
        scores_list: Of each model, (n_i,).
        labels_list: Of each model, (n_i,) class indices.
        weights: How much each model counts; None: all alike.
        iou_thr: From 0 to 1.
        skip_box_thr: Boxes of a lower score are left out.
        conf_type: The score of a fused box: 'avg', the mean of its boxes' (weighted) scores, times the share of the
            models that found it; 'max', the largest; 'box_and_model_avg', the mean weighted by model, times the share
            in weight of the models that found it; 'absent_model_aware_avg', the mean weighted by model, where models
            that did not find it count as score 0.
        allows_overflow: For 'avg', let an object that a model found several times score higher, above 1 even.

    Returns:
        Boxes (m, 4), by falling score, their scores (m,) and labels (m,); of the dtypes and on the device of the first
        model's. They carry no gradient.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape or value.
    """
    _check_models(bboxes_list, scores_list, labels_list)
    check_range(_OP, 'iou_thr', iou_thr, 0, 1)
    check_choice(_OP, 'conf_type', conf_type, _CONF_TYPES)
    weights = _model_weights(weights, len(bboxes_list))
    boxes, scores, labels, models = _gather(bboxes_list, scores_list, labels_list, skip_box_thr)
    weighted = scores * weights[models]
    fused = [np.zeros((0, 6))]
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(-weighted[members], kind='stable')]
        clusters = _Clusters(len(members), len(weights))
        for i in members:
            clusters.add(boxes[i], weighted[i], models[i], weights[models[i]], iou_thr)
        score = clusters.scores(weights, conf_type, allows_overflow)
        fused.append(np.column_stack([clusters.boxes(), score, np.full(len(score), label)]))
    fused = np.concatenate(fused)
    fused = torch.from_numpy(fused[np.argsort(-fused[:, 4], kind='stable')])
    return fused[:, :4].to(bboxes_list[0]), fused[:, 4].to(scores_list[0]), fused[:, 5].to(labels_list[0])


class _Clusters:
    """The fused boxes of one class, and the running sums that they are computed from."""

    def __init__(self, capacity: int, models: int):
        self.count = 0
        self.fused = np.zeros((capacity, 4))
        self.weighted_boxes = np.zeros((capacity, 4))
        self.score_sum = np.zeros(capacity)
        self.score_max = np.zeros(capacity)
        self.weight_sum = np.zeros(capacity)
        self.size = np.zeros(capacity)
        self.found = np.zeros((capacity, models), dtype=bool)

    def boxes(self) -> np.ndarray:
        return self.fused[: self.count]

    def add(self, box: np.ndarray, score: float, model: int, weight: float, iou_thr: float) -> None:
        overlaps = _iou(box, self.boxes())
        i = int(overlaps.argmax()) if self.count else 0
        if not self.count or not overlaps[i] > iou_thr:  # begins a new cluster
            i = self.count
            self.count = self.count + 1
        self.weighted_boxes[i] += score * box
        self.score_sum[i] += score
        self.score_max[i] = max(self.score_max[i], score)
        self.weight_sum[i] += weight
        self.size[i] += 1
        self.found[i, model] = True
        self.fused[i] = self.weighted_boxes[i] / self.score_sum[i] if self.score_sum[i] > 0 else box

    def scores(self, weights: np.ndarray, conf_type: str, allows_overflow: bool) -> np.ndarray:
        used = slice(self.count)
        total = self.score_sum[used]
        size = self.size[used]
        found = self.found[used]
        if conf_type == 'max':
            return self.score_max[used] / weights.max()
        if conf_type == 'box_and_model_avg':
            return total / self.weight_sum[used] * (found @ weights) / weights.sum()
        if conf_type == 'absent_model_aware_avg':
            return total / (self.weight_sum[used] + (~found) @ weights)
        votes = size if allows_overflow else np.minimum(size, len(weights))
        return total / size * votes / weights.sum()


def _iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    sizes = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    inner = sizes.clip(min=0).prod(axis=1)
    whole = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - inner
    return np.divide(inner, whole, out=np.zeros_like(inner), where=inner > 0)


def _gather(bboxes_list, scores_list, labels_list, skip_box_thr: float) -> tuple[np.ndarray, ...]:
    boxes, scores, labels = (
        torch.cat([x.detach().double().cpu() for x in tensors]).numpy()
        for tensors in (bboxes_list, scores_list, labels_list)
    )
    models = np.repeat(np.arange(len(scores_list)), [len(scores) for scores in scores_list])
    used = scores >= skip_box_thr
    return boxes[used], scores[used], labels[used], models[used]


def _check_models(bboxes_list, scores_list, labels_list) -> None:
    counts = len(bboxes_list), len(scores_list), len(labels_list)
    if len(set(counts)) > 1 or counts[0] == 0:
        raise ValueError(f'{_OP}: boxes, scores and labels are of {counts} models, one number above 0 is expected')
    for i, (boxes, scores, labels) in enumerate(zip(bboxes_list, scores_list, labels_list)):
        check_float(_OP, f'bboxes_list[{i}]', boxes)
        check_shape(_OP, f'bboxes_list[{i}]', boxes, ('n', 4))
        check_float(_OP, f'scores_list[{i}]', scores)
        check_vector(_OP, f'scores_list[{i}]', scores, len(boxes))
        check_vector(_OP, f'labels_list[{i}]', labels, len(boxes))


def _model_weights(weights: Sequence[float] | None, models: int) -> np.ndarray:
    weights = np.ones(models) if weights is None else np.asarray(weights, dtype=np.float64)
    if weights.shape != (models,) or not (weights > 0).all():
        raise ValueError(f'{_OP}: weights is {weights.tolist()}, {models} positive numbers are expected')
    return weights
