"""Box regression by shifted center and log-scaled size: R-CNN, arXiv 1311.2524."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.registry import TASK_UTILS
from mmdetlike.structures.bbox import HorizontalBoxes, geometry
from mmdetlike.utils.sizes import size_tensor

from ..priors import Boxes
from .base import BaseBBoxCoder

# boxes without area, which datasets do have, would have infinite deltas
SMALLEST_SIDE = 1e-3


class BaseDeltaCoder(BaseBBoxCoder):
    """Base of the coders by deltas: shift of the center over the prior's sides, growth as logarithm, and the rest.

    Args:
        target_means: Means subtracted from the deltas; a ``ValueError`` if not one a delta.
        target_stds: Deviations by which they are divided; a ``ValueError`` if not one a delta, above 0.

    Attributes:
        ctr_clamp: Largest shift of a center in pixels, where only growth is bounded too, not shrinking (YOLOF); None
            for any shift.
        bound_shrinking: Bound shrinking as well as growth, where ``ctr_clamp`` is None.
    """

    ctr_clamp: float | None = None
    bound_shrinking = True

    def __init__(self, target_means: Sequence[float], target_stds: Sequence[float]) -> None:
        for name, values in dict(target_means=target_means, target_stds=target_stds).items():
            if len(values) != self.encode_size:
                raise ValueError(f'{name} needs {self.encode_size} numbers, one a delta, got {tuple(values)}')
        if min(target_stds) <= 0:
            raise ValueError(f'target_stds must be above 0, since deltas are divided by them, got {tuple(target_stds)}')
        self.means = tuple(target_means)
        self.stds = tuple(target_stds)

    def normalized_deltas(self, shift: Tensor, size: Tensor, prior_size: Tensor, *rest: Tensor) -> Tensor:
        """Deltas (..., ``encode_size``) of a center's ``shift`` (..., 2) in pixels, sizes (..., 2), the rest (..., 1).

        Sides count as at least a thousandth of a pixel, so that boxes without area have finite deltas.
        """
        prior_size = prior_size.clamp(min=SMALLEST_SIDE)
        growth = torch.log(size.clamp(min=SMALLEST_SIDE) / prior_size)
        deltas = torch.cat([shift / prior_size, growth, *rest], dim=-1)
        return (deltas - deltas.new_tensor(self.means)) / deltas.new_tensor(self.stds)

    def raw_deltas(self, predictions: Tensor) -> Tensor:
        """Deltas (..., k, ``encode_size``) of what a network predicts, (..., k * ``encode_size``)."""
        deltas = predictions.unflatten(-1, (predictions.shape[-1] // self.encode_size, self.encode_size))
        return deltas * deltas.new_tensor(self.stds) + deltas.new_tensor(self.means)

    def bounded(self, deltas: Tensor, prior_size: Tensor, wh_ratio_clip: float) -> tuple[Tensor, Tensor]:
        """Shifts of centers and new sizes, (..., 2) each in pixels, by ``deltas`` of priors of ``prior_size`` (..., 2).

        Untrained networks would make them infinite. ``wh_ratio_clip`` is the largest change of a side, as a ratio and
        its inverse.
        """
        shift = deltas[..., :2] * prior_size
        limit = abs(math.log(wh_ratio_clip))
        least = -limit if self.bound_shrinking else None
        if self.ctr_clamp is not None:
            shift = shift.clamp(-self.ctr_clamp, self.ctr_clamp)
            least = None
        return shift, prior_size * deltas[..., 2:4].clamp(least, limit).exp()


@TASK_UTILS.register_module()
class DeltaXYWHBBoxCoder(BaseDeltaCoder):
    """Encode boxes as deltas dx, dy, dw, dh that move priors onto them, and decode them again.

    Args:
        target_means, target_stds: As of ``BaseDeltaCoder``.
        clip_border: Clip decoded boxes to the image.
        add_ctr_clamp: Limit the shift of the center to ``ctr_clamp`` pixels, and growth only (YOLOF).
        ctr_clamp: Largest shift in pixels.
        use_box_type: Decode to ``HorizontalBoxes`` in place of a tensor.
        bound_shrinking: Bound how much smaller than its prior a box may be, as well as how much larger; False as in
            Detectron2 and torchvision.
    """

    def __init__(
        self,
        target_means: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
        target_stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        clip_border: bool = True,
        add_ctr_clamp: bool = False,
        ctr_clamp: int = 32,
        use_box_type: bool = False,
        bound_shrinking: bool = True,
    ) -> None:
        super().__init__(target_means, target_stds)
        self.clip_border, self.use_box_type, self.bound_shrinking = clip_border, use_box_type, bound_shrinking
        self.ctr_clamp = ctr_clamp if add_ctr_clamp else None

    def encode(self, bboxes: Boxes, gt_bboxes: Boxes) -> Tensor:
        """Deltas (..., 4) from priors ``bboxes`` to ``gt_bboxes``, both (..., 4) xyxy in pixels."""
        # in float32 also under autocast: deltas are small differences of large numbers
        priors = self.plain(bboxes).float()
        boxes = self.plain(gt_bboxes).float()
        shift = geometry.centers(boxes) - geometry.centers(priors)
        return self.normalized_deltas(shift, geometry.sizes(boxes), geometry.sizes(priors))

    def decode(self, bboxes: Boxes, pred_bboxes: Tensor, max_shape=None, wh_ratio_clip: float = 16 / 1000) -> Boxes:
        """Boxes (..., 4 * k) xyxy in pixels that deltas make of priors.

        Args:
            bboxes: Priors (..., 4) xyxy in pixels.
            pred_bboxes: Deltas (..., 4 * k), k boxes for each prior.
            max_shape: Height and width in pixels to clip to, one pair for all or one (B, 2) a batch element.
            wh_ratio_clip: Largest change of a side, as a ratio and its inverse.
        """
        priors = self.plain(bboxes)[..., None, :]
        shift, size = self.bounded(self.raw_deltas(pred_bboxes), geometry.sizes(priors), wh_ratio_clip)
        boxes = geometry.from_centers(geometry.centers(priors) + shift, size / 2)
        if self.clip_border and max_shape is not None:
            boxes = geometry.clip(boxes, max_shape)
        return HorizontalBoxes(boxes.reshape(-1, 4)) if self.use_box_type else boxes.flatten(-2)


@TASK_UTILS.register_module()
class LegacyDeltaXYWHBBoxCoder(DeltaXYWHBBoxCoder):
    """Deltas of the toolbox's first version, in which a box from pixel 0 to pixel 8 was 9 pixels wide.

    A decoded box is not made smaller again by that pixel, which those checkpoints have been found to be better with;
    it is clipped to the middles of the image's last pixels.

    Examples:
        >>> rois = torch.tensor([[0., 0., 1., 1.], [0., 0., 1., 1.], [0., 0., 1., 1.], [5., 5., 5., 5.]])
        >>> deltas = torch.tensor([[0., 0., 0., 0.], [1., 1., 1., 1.], [0., 0., 2., -1.], [0.7, -1.9, -0.5, 0.3]])
        >>> LegacyDeltaXYWHBBoxCoder().decode(rois, deltas, max_shape=(32, 32))
        tensor([[0.0000, 0.0000, 1.5000, 1.5000],
                [0.0000, 0.0000, 5.2183, 5.2183],
                [0.0000, 0.1321, 7.8891, 0.8679],
                [5.3967, 2.4251, 6.0033, 3.7749]])
    """

    def encode(self, bboxes: Boxes, gt_bboxes: Boxes) -> Tensor:
        return super().encode(self._to_edges(bboxes), self._to_edges(gt_bboxes))

    def decode(self, bboxes: Boxes, pred_bboxes: Tensor, max_shape=None, wh_ratio_clip: float = 16 / 1000) -> Boxes:
        shape = None if max_shape is None else size_tensor(max_shape) - 1
        return super().decode(self._to_edges(bboxes), pred_bboxes, shape, wh_ratio_clip)

    def _to_edges(self, boxes: Boxes) -> Tensor:
        """Boxes by the middles of their first and last pixels -> boxes by the outer edges of these pixels."""
        middles = self.plain(boxes)
        return middles + middles.new_tensor([-0.5, -0.5, 0.5, 0.5])
