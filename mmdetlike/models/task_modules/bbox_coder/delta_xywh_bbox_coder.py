"""Box regression by shifted centre and log-scaled size: R-CNN, arXiv 1311.2524."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes, get_box_tensor

Stats = Sequence[float]

SMALLEST_SIDE = 1e-3


def bbox2delta(priors: Tensor, boxes: Tensor, means: Stats = (0.0,) * 4, stds: Stats = (1.0,) * 4) -> Tensor:
    """Deltas (..., 4) dx, dy, dw, dh that move ``priors`` onto ``boxes``, both (..., 4) xyxy in pixels.

    Sides count as at least a thousandth of a pixel, so that boxes without area have finite deltas.
    """
    priors, boxes = priors.float(), boxes.float()
    prior_size, size = ((b[..., 2:] - b[..., :2]).clamp(min=SMALLEST_SIDE) for b in (priors, boxes))
    prior_center, center = (priors[..., :2] + priors[..., 2:]) / 2, (boxes[..., :2] + boxes[..., 2:]) / 2
    deltas = torch.cat([(center - prior_center) / prior_size, torch.log(size / prior_size)], dim=-1)
    return (deltas - deltas.new_tensor(means)) / deltas.new_tensor(stds)


def delta2bbox(
    priors: Tensor,
    deltas: Tensor,
    means: Stats = (0.0,) * 4,
    stds: Stats = (1.0,) * 4,
    max_shape=None,
    wh_ratio_clip: float = 16 / 1000,
    clip_border: bool = True,
    add_ctr_clamp: bool = False,
    ctr_clamp: float = 32,
) -> Tensor:
    """Boxes that ``deltas`` make of ``priors``.

    Args:
        priors: (..., 4) xyxy in pixels.
        deltas: (..., 4 * k), k boxes for each prior.
        means: Means that encoding subtracted.
        stds: Deviations by which encoding divided.
        max_shape: Height and width in pixels to which boxes are clipped, one for all or one (B, 2) a batch element.
        wh_ratio_clip: Largest change of a side, as a ratio and its inverse.
        clip_border: Clip to ``max_shape``.
        add_ctr_clamp: Limit the shift of the centre to ``ctr_clamp`` pixels, and growth only (YOLOF).
        ctr_clamp: Largest shift in pixels.

    Returns:
        (..., 4 * k) xyxy in pixels.
    """
    shape = deltas.shape
    deltas = deltas.reshape(*shape[:-1], shape[-1] // 4, 4) * deltas.new_tensor(stds) + deltas.new_tensor(means)
    priors = priors[..., None, :]
    size, center = priors[..., 2:] - priors[..., :2], (priors[..., :2] + priors[..., 2:]) / 2
    shift, growth = deltas[..., :2] * size, deltas[..., 2:]
    limit = abs(math.log(wh_ratio_clip))
    if add_ctr_clamp:
        shift, growth = shift.clamp(-ctr_clamp, ctr_clamp), growth.clamp(max=limit)
    else:
        growth = growth.clamp(-limit, limit)
    center, half = center + shift, size * growth.exp() / 2
    boxes = torch.cat([center - half, center + half], dim=-1)
    if clip_border and max_shape is not None:
        boxes = clip_boxes(boxes, max_shape)
    return boxes.reshape(shape)


def clip_boxes(boxes: Tensor, max_shape) -> Tensor:
    """Clip boxes (..., 4) to (height, width); ``max_shape`` may hold one pair for each leading element."""
    height_width = torch.as_tensor(max_shape, dtype=boxes.dtype, device=boxes.device)[..., :2]
    limit = height_width.flip(-1).repeat(*(1,) * (height_width.ndim - 1), 2)
    limit = limit.reshape(*limit.shape[:-1], *(1,) * (boxes.ndim - limit.ndim), 4)
    return torch.minimum(boxes.clamp(min=0), limit)


@TASK_UTILS.register_module()
class DeltaXYWHBBoxCoder:
    """Encode boxes as deltas against priors and decode them again; see ``bbox2delta`` and ``delta2bbox``.

    Args:
        target_means: Means subtracted from the deltas.
        target_stds: Deviations by which they are divided.
        clip_border: Clip decoded boxes to the image.
        add_ctr_clamp: Limit the shift of the centre.
        ctr_clamp: That limit in pixels.
        use_box_type: Decode to ``HorizontalBoxes`` in place of a tensor.
    """

    encode_size = 4

    def __init__(
        self,
        target_means: Stats = (0.0, 0.0, 0.0, 0.0),
        target_stds: Stats = (1.0, 1.0, 1.0, 1.0),
        clip_border: bool = True,
        add_ctr_clamp: bool = False,
        ctr_clamp: int = 32,
        use_box_type: bool = False,
    ) -> None:
        self.means, self.stds = tuple(target_means), tuple(target_stds)
        self.clip_border, self.add_ctr_clamp, self.ctr_clamp = clip_border, add_ctr_clamp, ctr_clamp
        self.use_box_type = use_box_type

    def encode(self, bboxes: Tensor | HorizontalBoxes, gt_bboxes: Tensor | HorizontalBoxes) -> Tensor:
        """Deltas (n, 4) from priors ``bboxes`` (n, 4) to ``gt_bboxes`` (n, 4), xyxy in pixels."""
        return bbox2delta(get_box_tensor(bboxes), get_box_tensor(gt_bboxes), self.means, self.stds)

    def decode(
        self,
        bboxes: Tensor | HorizontalBoxes,
        pred_bboxes: Tensor,
        max_shape=None,
        wh_ratio_clip: float = 16 / 1000,
    ) -> Tensor | HorizontalBoxes:
        """Boxes (..., 4 * k) xyxy that ``pred_bboxes`` (..., 4 * k) make of priors ``bboxes`` (..., 4)."""
        boxes = delta2bbox(
            get_box_tensor(bboxes),
            pred_bboxes,
            self.means,
            self.stds,
            max_shape,
            wh_ratio_clip,
            self.clip_border,
            self.add_ctr_clamp,
            self.ctr_clamp,
        )
        return HorizontalBoxes(boxes.reshape(-1, 4)) if self.use_box_type else boxes
