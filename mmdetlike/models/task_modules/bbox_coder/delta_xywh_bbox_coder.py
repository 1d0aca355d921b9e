"""Box regression by shifted centre and log-scaled size: R-CNN, arXiv 1311.2524."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes, get_box_tensor

from .base import BaseBBoxCoder

SMALLEST_SIDE = 1e-3


@TASK_UTILS.register_module()
class DeltaXYWHBBoxCoder(BaseBBoxCoder):
    """Encode boxes as deltas dx, dy, dw, dh that move priors onto them, and decode them again.

    Args:
        target_means: Means subtracted from the deltas.
        target_stds: Deviations by which they are divided.
        clip_border: Clip decoded boxes to the image.
        add_ctr_clamp: Limit the shift of the centre to ``ctr_clamp`` pixels, and growth only (YOLOF).
        ctr_clamp: Largest shift in pixels.
        use_box_type: Decode to ``HorizontalBoxes`` in place of a tensor.
    """

    def __init__(
        self,
        target_means: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
        target_stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        clip_border: bool = True,
        add_ctr_clamp: bool = False,
        ctr_clamp: int = 32,
        use_box_type: bool = False,
    ) -> None:
        self.means, self.stds = tuple(target_means), tuple(target_stds)
        self.clip_border, self.add_ctr_clamp, self.ctr_clamp = clip_border, add_ctr_clamp, ctr_clamp
        self.use_box_type = use_box_type

    def encode(self, bboxes: Tensor | HorizontalBoxes, gt_bboxes: Tensor | HorizontalBoxes) -> Tensor:
        """Deltas (..., 4) from priors ``bboxes`` to ``gt_bboxes``, both (..., 4) xyxy in pixels.

        Sides count as at least a thousandth of a pixel, so that boxes without area have finite deltas.
        """
        priors, boxes = (get_box_tensor(b).float() for b in (bboxes, gt_bboxes))
        prior_size, size = ((b[..., 2:] - b[..., :2]).clamp(min=SMALLEST_SIDE) for b in (priors, boxes))
        prior_center, center = ((b[..., :2] + b[..., 2:]) / 2 for b in (priors, boxes))
        deltas = torch.cat([(center - prior_center) / prior_size, torch.log(size / prior_size)], dim=-1)
        return (deltas - deltas.new_tensor(self.means)) / deltas.new_tensor(self.stds)

    def decode(
        self,
        bboxes: Tensor | HorizontalBoxes,
        pred_bboxes: Tensor,
        max_shape=None,
        wh_ratio_clip: float = 16 / 1000,
    ) -> Tensor | HorizontalBoxes:
        """Boxes that deltas make of priors.

        Args:
            bboxes: Priors (..., 4) xyxy in pixels.
            pred_bboxes: Deltas (..., 4 * k), k boxes for each prior.
            max_shape: Height and width in pixels to clip to, one pair for all or one (B, 2) a batch element.
            wh_ratio_clip: Largest change of a side, as a ratio and its inverse.

        Returns:
            (..., 4 * k) xyxy in pixels.
        """
        shape, priors = pred_bboxes.shape, get_box_tensor(bboxes)[..., None, :]
        deltas = pred_bboxes.reshape(*shape[:-1], shape[-1] // 4, 4)
        deltas = deltas * deltas.new_tensor(self.stds) + deltas.new_tensor(self.means)
        size, center = priors[..., 2:] - priors[..., :2], (priors[..., :2] + priors[..., 2:]) / 2
        shift, growth = deltas[..., :2] * size, deltas[..., 2:]
        limit = abs(math.log(wh_ratio_clip))
        if self.add_ctr_clamp:
            shift, growth = shift.clamp(-self.ctr_clamp, self.ctr_clamp), growth.clamp(max=limit)
        else:
            growth = growth.clamp(-limit, limit)
        center, half = center + shift, size * growth.exp() / 2
        boxes = torch.cat([center - half, center + half], dim=-1)
        if self.clip_border and max_shape is not None:
            boxes = clip_boxes(boxes, max_shape)
        return HorizontalBoxes(boxes.reshape(-1, 4)) if self.use_box_type else boxes.reshape(shape)


def clip_boxes(boxes: Tensor, max_shape) -> Tensor:
    """Clip boxes (..., 4) to (height, width); ``max_shape`` may hold one pair for each leading element."""
    height_width = torch.as_tensor(max_shape, dtype=boxes.dtype, device=boxes.device)[..., :2]
    limit = height_width.flip(-1).repeat(*(1,) * (height_width.ndim - 1), 2)
    limit = limit.reshape(*limit.shape[:-1], *(1,) * (boxes.ndim - limit.ndim), 4)
    return torch.minimum(boxes.clamp(min=0), limit)


@TASK_UTILS.register_module()
class LegacyDeltaXYWHBBoxCoder(DeltaXYWHBBoxCoder):
    """Deltas of the toolbox's first version, in which a box from pixel 0 to pixel 8 was 9 pixels wide.

    A decoded box is not made smaller again by that pixel, which those checkpoints have been found to be better with.

    Examples:
        >>> rois = torch.tensor([[0., 0., 1., 1.], [0., 0., 1., 1.], [0., 0., 1., 1.], [5., 5., 5., 5.]])
        >>> deltas = torch.tensor([[0., 0., 0., 0.], [1., 1., 1., 1.], [0., 0., 2., -1.], [0.7, -1.9, -0.5, 0.3]])
        >>> LegacyDeltaXYWHBBoxCoder().decode(rois, deltas, max_shape=(32, 32))
        tensor([[0.0000, 0.0000, 1.5000, 1.5000],
                [0.0000, 0.0000, 5.2183, 5.2183],
                [0.0000, 0.1321, 7.8891, 0.8679],
                [5.3967, 2.4251, 6.0033, 3.7749]])
    """

    def encode(self, bboxes: Tensor | HorizontalBoxes, gt_bboxes: Tensor | HorizontalBoxes) -> Tensor:
        return super().encode(_to_edges(bboxes), _to_edges(gt_bboxes))

    def decode(self, bboxes: Tensor | HorizontalBoxes, *args, **kwargs) -> Tensor | HorizontalBoxes:
        return super().decode(_to_edges(bboxes), *args, **kwargs)


def _to_edges(boxes: Tensor | HorizontalBoxes) -> Tensor:
    """Boxes by the middles of their first and last pixels -> boxes by the outer edges of these pixels."""
    boxes = get_box_tensor(boxes)
    return boxes + boxes.new_tensor([-0.5, -0.5, 0.5, 0.5])
