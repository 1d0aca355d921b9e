"""Functions over plain box tensors: conversions between encodings, flips, regions of interest."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.structures.bbox import geometry
from mmdetlike.structures.bbox.base_boxes import BaseBoxes
from mmdetlike.structures.bbox.box_type import get_box_tensor
from mmdetlike.utils.sizes import size_tensor

DIRECTIONS = ('horizontal', 'vertical', 'diagonal')


def bbox_xyxy_to_cxcywh(bbox: Tensor) -> Tensor:
    """Corners (..., 4) to center and size (..., 4), in the same unit."""
    low, high = bbox.split(2, dim=-1)
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def bbox_cxcywh_to_xyxy(bbox: Tensor) -> Tensor:
    """Center and size (..., 4) to corners (..., 4), in the same unit."""
    center, size = bbox.split(2, dim=-1)
    return torch.cat([center - size / 2, center + size / 2], dim=-1)


def bbox_flip(bboxes: Tensor, img_shape: tuple[int, int], direction: str = 'horizontal') -> Tensor:
    """Mirror boxes with their image.

    Args:
        bboxes: (..., 4 * k), xyxy in pixels.
        img_shape: (h, w) of the image.
        direction: 'horizontal' (left becomes right), 'vertical' or 'diagonal' (both).

    Returns:
        A new tensor of the same shape.
    """
    check_direction(direction)
    if bboxes.shape[-1] % 4:
        raise ValueError(f'Boxes must end in a multiple of 4 coordinates; got shape {tuple(bboxes.shape)}.')
    x1, y1, x2, y2 = bboxes.unflatten(-1, (-1, 4)).unbind(-1)
    height, width = img_shape[:2]
    if direction != 'vertical':
        x1, x2 = width - x2, width - x1
    if direction != 'horizontal':
        y1, y2 = height - y2, height - y1
    return torch.stack([x1, y1, x2, y2], dim=-1).flatten(-2)


def check_direction(direction: str) -> None:
    """Raise a ``ValueError`` unless ``direction`` names a flip."""
    if direction not in DIRECTIONS:
        raise ValueError(f'direction={direction!r} is unknown; expected one of {", ".join(DIRECTIONS)}.')


def bbox_mapping(
    bboxes: Tensor,
    img_shape: tuple[int, int],
    scale_factor: Sequence[float],
    flip: bool,
    flip_direction: str = 'horizontal',
) -> Tensor:
    """Map boxes of the original image to its resized, then flipped version.

    Args:
        bboxes: (..., 4), xyxy in pixels of the original.
        img_shape: (h, w) of the resized image.
        scale_factor: (w, h) resized size over original size, or those twice over.
        flip: Whether the resized image was flipped.
        flip_direction: How.
    """
    scaled = bboxes * bboxes.new_tensor(_four(scale_factor))
    return bbox_flip(scaled, img_shape, flip_direction) if flip else scaled


def bbox_mapping_back(
    bboxes: Tensor,
    img_shape: tuple[int, int],
    scale_factor: Sequence[float],
    flip: bool,
    flip_direction: str = 'horizontal',
) -> Tensor:
    """The inverse of `bbox_mapping`: boxes of the resized, then flipped image, in pixels of the original."""
    unflipped = bbox_flip(bboxes, img_shape, flip_direction) if flip else bboxes
    return unflipped / bboxes.new_tensor(_four(scale_factor))


def _four(scale_factor: Sequence[float]) -> list[float]:
    return list(scale_factor) * (4 // len(scale_factor))


def bbox2roi(bbox_list: Sequence[Tensor | BaseBoxes]) -> Tensor:
    """Join the boxes of a batch, each with the index of its image in front.

    Args:
        bbox_list: For each image, (n_i, 4) boxes, xyxy, or rotated ones (n_i, 5).

    Returns:
        (sum of n_i, 5 or 6): image index, then the box.
    """
    boxes = [get_box_tensor(b) for b in bbox_list]
    return torch.cat([torch.cat([b.new_full((len(b), 1), i), b], dim=-1) for i, b in enumerate(boxes)])


def roi2bbox(rois: Tensor) -> list[Tensor]:
    """Split regions of interest (n, 5 or 6) into the boxes (n_i, 4 or 5) of each image index that occurs, in order."""
    return [rois[rois[:, 0] == index, 1:] for index in torch.unique(rois[:, 0], sorted=True)]


def distance2bbox(points: Tensor, distance: Tensor, max_shape: Sequence | Tensor | None = None) -> Tensor:
    """Decode boxes from points and their distances to the four sides (FCOS, arXiv 1904.01355).

    Args:
        points: (..., n, 2), x and y.
        distance: (..., n, 4), to the left, top, right and bottom side.
        max_shape: (h, w) to clip to, or one such pair for each image: (B, 2).

    Returns:
        (..., n, 4), xyxy.
    """
    boxes = torch.cat([points - distance[..., :2], points + distance[..., 2:]], dim=-1)
    if max_shape is None:
        return boxes
    shape = size_tensor(max_shape, dtype=boxes.dtype, device=boxes.device)[..., :2]
    if shape.dim() > 1 and len(shape) != len(boxes):
        raise ValueError(f'max_shape has {len(shape)} image shapes, but there are boxes of {len(boxes)} images.')
    return geometry.clip(boxes, shape)


def bbox2distance(points: Tensor, bbox: Tensor, max_dis: float | None = None, eps: float = 0.1) -> Tensor:
    """Encode boxes as the distances of points to their four sides (FCOS, arXiv 1904.01355).

    Args:
        points: (..., n, 2), x and y.
        bbox: (..., n, 4), xyxy.
        max_dis: Distances are clipped to [0, ``max_dis`` - ``eps``] if given.
        eps: Keeps a clipped distance below ``max_dis``.

    Returns:
        (..., n, 4): to the left, top, right and bottom side; negative where the point lies outside.
    """
    distance = geometry.side_distances(points, geometry.require_horizontal(bbox, 'bbox2distance'))
    return distance if max_dis is None else distance.clamp(min=0, max=max_dis - eps)
