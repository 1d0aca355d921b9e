"""Conversion of rotated boxes from and to Detectron2's convention."""

import math

import torch
from torch import Tensor

from ._checks import check_table


def rotated_boxes_from_detectron2(boxes: Tensor) -> Tensor:
    """Convert rotated boxes from Detectron2's convention to ours.

    | | columns | angle | a positive angle, seen in the image |
    |---|---|---|---|
    | here and in OpenMMLab | cx, cy, w, h, angle | radians | turns clockwise |
    | Detectron2 | cx, cy, w, h, angle | degrees | turns counter-clockwise |

    Args:
        boxes: (n, 5) with angles in degrees, counter-clockwise.

    Returns:
        (n, 5) with angles in radians, clockwise. Carries gradients.

    Raises:
        TypeError, ValueError: `boxes` has a wrong type or shape.
    """
    check_table('rotated_boxes_from_detectron2', 'boxes', boxes, 5)
    return torch.cat([boxes[:, :4], boxes[:, 4:] * (-math.pi / 180)], dim=1)


def rotated_boxes_to_detectron2(boxes: Tensor) -> Tensor:
    """The inverse of `rotated_boxes_from_detectron2`, whose table compares the conventions.

    Args:
        boxes: (n, 5) with angles in radians, clockwise.

    Returns:
        (n, 5) with angles in degrees, counter-clockwise. Carries gradients.

    Raises:
        TypeError, ValueError: `boxes` has a wrong type or shape.
    """
    check_table('rotated_boxes_to_detectron2', 'boxes', boxes, 5)
    return torch.cat([boxes[:, :4], boxes[:, 4:] * (-180 / math.pi)], dim=1)
