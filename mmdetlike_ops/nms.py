"""Non-maximum suppression: greedy, per class, and the groups it merges."""

import math

import torch
from torch import Tensor

from ._checks import check_choice, check_device, check_range, check_scored_boxes, check_table, check_vector
from ._library import kernels
from .bbox_overlaps import bbox_overlaps
from .nms_rotated import COLUMNS, grouped_convex_nms
from .soft_nms import grouped_soft_nms


@torch.library.register_fake('mmdetlike_ops::nms')
def _fake_nms(boxes, scores, order, groups, iou_threshold, score_threshold, offset, max_num):
    return boxes.new_empty(boxes.shape[0], dtype=torch.bool)


def nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    offset: int = 0,
    score_threshold: float = 0,
    max_num: int = -1,
) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum suppression.

    A box is kept if its IoU with every kept box of higher score is at most `iou_threshold`. Boxes of equal score are
    visited in the order they come. A box whose score is NaN is never kept. How many boxes are kept depends on the
    data, so `torch.compile(fullgraph=True)` wants `torch._dynamo.config.capture_dynamic_output_shape_ops = True`.

    Args:
        boxes: (n, 4) xyxy in pixels.
        scores: (n,).
        iou_threshold: From 0 to 1.
        offset: 1 where the right and bottom pixel belong to a box (width = x2 - x1 + 1), else 0.
        score_threshold: If positive, only boxes of a higher score take part.
        max_num: If positive, at most that many boxes are kept.

    Returns:
        The kept boxes with their scores (k, 5), by falling score, and their indices (k,). Gradients flow to the kept
        boxes and scores.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    return _grouped_nms(boxes, scores, None, iou_threshold, offset, score_threshold, max_num)


def batched_nms(
    boxes: Tensor,
    scores: Tensor,
    idxs: Tensor,
    nms_cfg: dict | float | None,
    class_agnostic: bool = False,
) -> tuple[Tensor, Tensor]:
    """Non-maximum suppression within each class: boxes of different class never suppress each other.

    Args:
        boxes: (n, 4) xyxy in pixels; (n, 5) rotated boxes for 'nms_rotated', (n, 8) quadrilaterals for 'nms_quadri'.
        scores: (n,).
        idxs: (n,) class (or level, or image) of each box, integers.
        nms_cfg: None only sorts by score. A number is the `iou_threshold` of 'nms'. Else a dict with `type` ('nms', the
            default, 'soft_nms', 'nms_rotated' or 'nms_quadri'), the arguments of that function (`iou_threshold` or
            `iou_thr`), and `max_num` (at most that many boxes in all), `class_agnostic` (wins over the argument) and
            `split_thr` (from so many boxes on classes are told apart even so, as the OpenMMLab ops library does from
            10000 on; never unless it is given).
        class_agnostic: Ignore `idxs`: every box may suppress every other, however many there are.

    Returns:
        The kept boxes with their (for 'soft_nms' decayed) scores (k, 5), (k, 6) or (k, 9), by falling score, and
        their indices (k,).

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value, or `nms_cfg` an unknown key.
    """
    if nms_cfg is None:
        return _sort_by_score(boxes, scores)
    if isinstance(nms_cfg, (int, float)):
        nms_cfg = {'iou_threshold': nms_cfg}
    kind, settings = _read_settings(nms_cfg)
    check_scored_boxes('batched_nms', boxes, scores, COLUMNS.get(kind, 4))
    check_vector('batched_nms', 'idxs', idxs, boxes.shape[0])
    check_device('batched_nms', 'idxs', idxs, boxes.device)
    agnostic = settings.pop('class_agnostic', class_agnostic)
    split = boxes.shape[0] >= settings.pop('split_thr', math.inf)
    groups = None if agnostic and not split else idxs.to(torch.int64)
    max_num = settings.pop('max_num', -1)
    if kind == 'nms':
        return _grouped_nms(boxes, scores, groups, max_num=max_num, **settings)
    if kind == 'soft_nms':
        dets, kept = grouped_soft_nms(boxes, scores, groups, **settings)
    else:
        dets, kept = grouped_convex_nms(kind, boxes, scores, groups, **settings)
    return (dets[:max_num], kept[:max_num]) if max_num > 0 else (dets, kept)


def nms_match(dets: Tensor, thr: float) -> list[list[int]]:
    """The groups of boxes that greedy non-maximum suppression merges.

    Args:
        dets: (n, 5) xyxy in pixels and score; boxes whose score is NaN belong to no group.
        thr: IoU above which a box joins the first kept box, by falling score, that it overlaps; from 0 to 1.

    Returns:
        One list of indices for each kept box, by falling score: the kept box first, then those it suppressed, by
        falling score.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape or value.
    """
    check_table('nms_match', 'dets', dets, 5)
    dets = dets.detach().to(torch.promote_types(dets.dtype, torch.float32))
    boxes = dets[:, :4]
    scores = dets[:, 4]
    kept = nms(boxes, scores, thr)[1]
    if kept.numel() == 0:
        return []
    # argmax of a mask is its first True: the best kept box that overlaps
    leader = kept[(bbox_overlaps(boxes, boxes[kept]) > thr).int().argmax(dim=1)].tolist()
    order = scores.argsort(descending=True, stable=True)
    groups = {i: [i] for i in kept.tolist()}
    for i in order[~scores[order].isnan()].tolist():
        if i not in groups:
            groups[leader[i]].append(i)
    return list(groups.values())


_SETTINGS = {
    'nms': ('iou_threshold', 'offset', 'score_threshold'),
    'soft_nms': ('iou_threshold', 'sigma', 'min_score', 'method', 'offset'),
    'nms_rotated': ('iou_threshold', 'clockwise'),
    'nms_quadri': ('iou_threshold',),
}


def _read_settings(nms_cfg: dict) -> tuple[str, dict]:
    settings = dict(nms_cfg)
    kind = settings.pop('type', 'nms')
    check_choice('batched_nms', "nms_cfg['type']", kind, tuple(_SETTINGS))
    if 'iou_thr' in settings:
        settings['iou_threshold'] = settings.pop('iou_thr')
    known = (*_SETTINGS[kind], 'max_num', 'class_agnostic', 'split_thr')
    for key in settings:
        check_choice('batched_nms', 'a key of nms_cfg', key, known)
    if kind != 'soft_nms' and 'iou_threshold' not in settings:
        raise ValueError(f"batched_nms: nms_cfg is {nms_cfg}, it needs 'iou_threshold'")
    return kind, settings


def _sort_by_score(boxes, scores):
    """All boxes, as `batched_nms` returns them, sorted by falling score."""
    wide = tuple(getattr(boxes, 'shape', ())[1:]) in ((5,), (8,))
    check_scored_boxes('batched_nms', boxes, scores, boxes.shape[1] if wide else 4)
    scores, kept = scores.sort(descending=True, stable=True)
    return torch.cat([boxes[kept], scores[:, None]], dim=1), kept


def _grouped_nms(boxes, scores, groups, iou_threshold, offset=0, score_threshold=0, max_num=-1):
    """`nms` where only boxes of one group, (n,) int64, suppress each other; None puts all in one."""
    check_scored_boxes('nms', boxes, scores)
    check_range('nms', 'iou_threshold', iou_threshold, 0, 1)
    check_choice('nms', 'offset', offset, (0, 1))
    dtype = torch.promote_types(boxes.dtype, scores.dtype)
    order = scores.detach().argsort(descending=True, stable=True)
    keep = kernels.nms(
        boxes.detach().to(dtype),
        scores.detach().to(dtype),
        order,
        groups,
        float(iou_threshold),
        float(score_threshold),
        offset,
        max_num,
    )
    kept = order[keep]
    if max_num > 0:
        kept = kept[:max_num]
    return torch.cat([boxes[kept], scores[kept, None]], dim=1), kept
