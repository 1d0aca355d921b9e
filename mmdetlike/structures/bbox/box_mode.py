"""Ways to write a box as numbers, and conversions between them."""

import math
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from mmdetlike.structures.bbox import geometry

# what `BoxMode.convert` takes and gives back
BoxNumbers = Sequence[float] | np.ndarray | Tensor


class BoxMode(IntEnum):
    """A way to write a box; names and numbers are those of Detectron2, so that its records can be read.

    | mode | numbers |
    |---|---|
    | XYXY_ABS | x1, y1, x2, y2 in pixels: our own |
    | XYWH_ABS | x1, y1, width, height in pixels: COCO's |
    | XYXY_REL | x1, y1, x2, y2 as parts of the image's sides |
    | XYWH_REL | x1, y1, width, height as parts of the image's sides |
    | XYWHA_ABS | center x, center y, width, height in pixels, angle in degrees, counter-clockwise |
    """

    XYXY_ABS = 0
    XYWH_ABS = 1
    XYXY_REL = 2
    XYWH_REL = 3
    XYWHA_ABS = 4

    @property
    def numbers(self) -> int:
        """How many numbers a box has."""
        return 5 if self is BoxMode.XYWHA_ABS else 4

    @property
    def is_relative(self) -> bool:
        """Whether numbers are parts of the image's sides."""
        return self in (BoxMode.XYXY_REL, BoxMode.XYWH_REL)

    @staticmethod
    def convert(box: BoxNumbers, from_mode: 'BoxMode', to_mode: 'BoxMode') -> BoxNumbers:
        """Write boxes in another way.

        Args:
            box: One box as a list or tuple, or (..., 4 or 5) as an array or a tensor.
            from_mode: How ``box`` is written.
            to_mode: How it shall be written. Rotated boxes become the axis-aligned ones around them.

        Returns:
            The same kind of object as ``box``, of its dtype if that is a floating one.

        Raises:
            ValueError: ``box`` has not as many numbers as ``from_mode``, or one mode is relative and the other isn't:
                that takes the size of the image.
        """
        from_mode = BoxMode(from_mode)
        to_mode = BoxMode(to_mode)
        boxes = _as_tensor(box, from_mode)
        if from_mode == to_mode:
            return box
        if from_mode.is_relative != to_mode.is_relative:
            raise ValueError(
                f'BoxMode.convert: {from_mode.name} to {to_mode.name} takes the size of the image; multiply relative '
                'boxes by it first.'
            )
        return _as_given(_from_corners(_to_corners(boxes, from_mode), to_mode), box)


def _as_tensor(box: BoxNumbers, mode: BoxMode) -> Tensor:
    boxes = torch.as_tensor(np.asarray(box) if isinstance(box, (list, tuple)) else box)
    if boxes.dim() == 0 or boxes.shape[-1] != mode.numbers:
        raise ValueError(f'BoxMode.convert: {mode.name} has {mode.numbers} numbers, got shape {tuple(boxes.shape)}.')
    # a width is a difference: whole numbers of one byte would wrap around
    return boxes if boxes.is_floating_point() else boxes.double()


def _as_given(boxes: Tensor, given: BoxNumbers) -> BoxNumbers:
    if isinstance(given, Tensor):
        return boxes
    if isinstance(given, np.ndarray):
        return boxes.numpy()
    return type(given)(boxes.tolist())


def _to_corners(boxes: Tensor, mode: BoxMode) -> Tensor:
    """Boxes as x1, y1, x2, y2; rotated boxes as those around them."""
    if mode in (BoxMode.XYWH_ABS, BoxMode.XYWH_REL):
        return torch.cat([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], dim=-1)
    if mode == BoxMode.XYWHA_ABS:
        clockwise = boxes[..., 4:] * (-math.pi / 180)
        return geometry.to_horizontal(torch.cat([boxes[..., :4], clockwise], dim=-1))
    return boxes


def _from_corners(boxes: Tensor, mode: BoxMode) -> Tensor:
    if mode in (BoxMode.XYWH_ABS, BoxMode.XYWH_REL):
        return torch.cat([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], dim=-1)
    return geometry.to_rotated(boxes) if mode == BoxMode.XYWHA_ABS else boxes
