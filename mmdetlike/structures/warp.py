"""Maps from one image to another, applied alike to images, boxes, masks, keypoints and label maps.

Coordinates are continuous: pixel (column i, row j) covers [i, i + 1) x [j, j + 1), the image [0, w] x [0, h].
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.structures import pillow_resize
from mmdetlike.structures.bbox import BaseBoxes, geometry

Size = tuple[int, int]
Fill = float | tuple[float, ...]

INTERPOLATIONS = {
    'nearest': cv2.INTER_NEAREST,
    'bilinear': cv2.INTER_LINEAR,
    'bicubic': cv2.INTER_CUBIC,
    'area': cv2.INTER_AREA,
    'lanczos': cv2.INTER_LANCZOS4,
}
# What each library that resizes images can do; other maps are always OpenCV's work.
RESIZE_INTERPOLATIONS = {'cv2': INTERPOLATIONS, 'pillow': pillow_resize.INTERPOLATIONS}
BORDERS = {
    'constant': cv2.BORDER_CONSTANT,
    'edge': cv2.BORDER_REPLICATE,
    'reflect': cv2.BORDER_REFLECT_101,
    'symmetric': cv2.BORDER_REFLECT,
}
_FLIPS = {'horizontal': 1, 'vertical': 0, 'diagonal': -1}
_MAX_CHANNELS = 4  # OpenCV takes the fill as four numbers, and pads or warps no image of more channels with it
# OpenCV counts from the center of the first pixel, we from its outer corner: half a pixel lies between.
_INDEX_TO_CONTINUOUS = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
_CONTINUOUS_TO_INDEX = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])


@dataclass(frozen=True, eq=False)
class Warp:
    """A map from an image to another, exact for each kind of data; made by one of the constructors below.

    Args:
        matrix: (3, 3) float64, from old to new continuous coordinates.
        source: (h, w) of the old image.
        size: (h, w) of the new image.
        kind: How pixels are moved: 'resize', 'flip', 'window' or 'affine'.
        mode: The interpolation of a resize or affine map, the direction of a flip, the border of a window.
        backend: The library that resizes the image, 'cv2' or 'pillow'.
    """

    matrix: np.ndarray
    source: Size
    size: Size
    kind: str
    mode: str
    backend: str = 'cv2'

    @classmethod
    def resize(cls, old: Size, new: Size, interpolation: str = 'bilinear', backend: str = 'cv2') -> 'Warp':
        """Stretch an image of (h, w) ``old`` to ``new``.

        Args:
            old: (h, w) of the image.
            new: (h, w) that it gets.
            interpolation: One of ``RESIZE_INTERPOLATIONS`` of the backend.
            backend: 'cv2', which looks at the neighbors of the one point that a new pixel comes from, or 'pillow',
                which averages over all old pixels that a new one covers.

        Raises:
            ValueError: A size isn't positive, or a choice is unknown.
        """
        _check_choice('backend', backend, RESIZE_INTERPOLATIONS)
        _check_choice('interpolation', interpolation, RESIZE_INTERPOLATIONS[backend])
        old = _size(old)
        new = _size(new)
        if min(old + new) <= 0:
            raise ValueError(f'Cannot resize an image of (h, w) = {old} to {new}; sizes must be positive.')
        return cls(np.diag([new[1] / old[1], new[0] / old[0], 1.0]), old, new, 'resize', interpolation, backend)

    @classmethod
    def flip(cls, size: Size, direction: str = 'horizontal') -> 'Warp':
        """Mirror an image of (h, w): 'horizontal' (left becomes right), 'vertical' or 'diagonal' (both)."""
        _check_choice('direction', direction, _FLIPS)
        matrix = np.eye(3)
        size = _size(size)
        if direction != 'vertical':
            matrix[0] = -1, 0, size[1]
        if direction != 'horizontal':
            matrix[1] = 0, -1, size[0]
        return cls(matrix, size, size, 'flip', direction)

    @classmethod
    def window(cls, old: Size, x0: int, y0: int, h: int, w: int, border: str = 'constant') -> 'Warp':
        """Cut the window of ``h`` x ``w`` pixels at (``x0``, ``y0``); what lies outside the image is filled.

        Args:
            old: (h, w) of the image.
            x0: Left side of the window, may be negative.
            y0: Top side of the window, may be negative.
            h: Height of the window.
            w: Width of the window.
            border: 'constant', or 'edge', 'reflect' or 'symmetric' to continue the image (label maps and masks
                are always filled with a constant).
        """
        _check_choice('border', border, BORDERS)
        matrix = np.array([[1, 0, -int(x0)], [0, 1, -int(y0)], [0, 0, 1]], dtype=np.float64)
        return cls(matrix, _size(old), _size((h, w)), 'window', border)

    @classmethod
    def affine(cls, matrix: np.ndarray, size: Size, source: Size, interpolation: str = 'bilinear') -> 'Warp':
        """Apply a 3x3 matrix over continuous coordinates, affine or projective, and keep ``size`` (h, w) of it."""
        _check_choice('interpolation', interpolation, INTERPOLATIONS)
        matrix = np.array(matrix, dtype=np.float64)
        if matrix.shape != (3, 3):
            raise ValueError(f'A warp needs a 3x3 matrix, got shape {matrix.shape}.')
        return cls(matrix, _size(source), _size(size), 'affine', interpolation)

    @property
    def inverse(self) -> 'Warp':
        """The map back; what this one cut off stays lost."""
        matrix = np.linalg.inv(self.matrix)
        return Warp(matrix, self.size, self.source, self.kind, self.mode, self.backend)

    @property
    def scale(self) -> tuple[float, float]:
        """Factors of width and height by which a map without rotation stretches."""
        return abs(float(self.matrix[0, 0])), abs(float(self.matrix[1, 1]))

    @property
    def offset(self) -> tuple[int, int]:
        """(x0, y0) of a window in the old image."""
        return -round(self.matrix[0, 2]), -round(self.matrix[1, 2])

    def points(self, xy: np.ndarray) -> np.ndarray:
        """Map points (..., 2), computed in float64 and returned in their own floating dtype."""
        xy = np.asarray(xy)
        mapped = xy.astype(np.float64) @ self.matrix[:2, :2].T + self.matrix[:2, 2]
        if np.any(self.matrix[2] != (0, 0, 1)):  # projective: divide by the third homogeneous coordinate
            mapped /= (xy @ self.matrix[2, :2] + self.matrix[2, 2])[..., None]
        return mapped.astype(xy.dtype if xy.dtype.kind == 'f' else np.float64)

    def boxes(self, boxes: BaseBoxes) -> BaseBoxes:
        """Map boxes; each becomes the box around its warped corners, which may lie outside the new image."""
        boxes = boxes.clone()
        boxes.project_(self.matrix)
        return boxes

    def image(self, img: np.ndarray, fill: Fill = 0) -> np.ndarray:
        """Map an image (h, w) or (h, w, c); pixels from outside it are ``fill``, one number or one a channel.

        A window within the image is a view of it.
        """
        if self.backend == 'pillow' and img.shape[:2] == self.source != self.size:
            return pillow_resize.resize(img, self.size, self.mode)
        if img.ndim == 3 and img.shape[2] > _MAX_CHANNELS:
            return self._image_by_channel_groups(img, fill)
        return self._move_pixels(img, fill, INTERPOLATIONS.get(self.mode), BORDERS.get(self.mode))

    def _image_by_channel_groups(self, img: np.ndarray, fill: Fill) -> np.ndarray:
        """Map an image of more channels than OpenCV moves at once, a few channels at a time."""
        fills = [fill] * img.shape[2] if np.isscalar(fill) else list(fill)
        groups = []
        for start in range(0, img.shape[2], _MAX_CHANNELS):
            channels = slice(start, start + _MAX_CHANNELS)
            group = np.ascontiguousarray(img[..., channels])  # OpenCV refuses views with gaps
            groups.append(self.image(group, tuple(fills[channels])))
        return np.concatenate(groups, axis=2)

    def label_map(self, seg: np.ndarray, fill: float = 255) -> np.ndarray:
        """Map a label map or mask (h, w): as `image`, but each new pixel takes the value of the nearest old one."""
        if seg.dtype == bool or seg.dtype.itemsize > 4:  # unknown to OpenCV
            return self.label_map(seg.astype(np.uint8 if seg.dtype == bool else np.int32), fill).astype(seg.dtype)
        # A resize by INTER_NEAREST takes the upper left corner of each new pixel instead of its center, which moves
        # the map by up to half a pixel. The exact variant doesn't; warps, which don't know it, have no such fault.
        nearest = cv2.INTER_NEAREST_EXACT if self.kind == 'resize' else cv2.INTER_NEAREST
        return self._move_pixels(seg, fill, nearest, cv2.BORDER_CONSTANT)

    def _move_pixels(self, img: np.ndarray, fill: Fill, interpolation: int | None, border: int | None) -> np.ndarray:
        if img.shape[:2] != self.source:
            raise ValueError(f'This warp is for images of (h, w) = {self.source}, got one of {img.shape[:2]}.')
        if self.kind == 'resize':
            moved = _resize(img, self.size, interpolation)
        elif self.kind == 'flip':
            moved = cv2.flip(img, _FLIPS[self.mode])
        elif self.kind == 'window':
            moved = self._window(img, fill, border)
        else:
            moved = self._affine(img, fill, interpolation)
        return moved if moved.ndim == img.ndim else moved[..., None]  # OpenCV drops a lone channel

    def _window(self, img: np.ndarray, fill: Fill, border: int) -> np.ndarray:
        x0, y0 = self.offset
        h, w = self.size
        old_h, old_w = self.source
        left = max(-x0, 0)
        top = max(-y0, 0)
        right = max(x0 + w - old_w, 0)
        bottom = max(y0 + h - old_h, 0)
        inside = img[max(y0, 0) : max(y0 + h, 0), max(x0, 0) : max(x0 + w, 0)]
        if not (left or top or right or bottom):
            return inside
        if inside.size == 0:  # copyMakeBorder needs at least one pixel to add a border to
            return _filled(img, self.size, fill)
        return cv2.copyMakeBorder(inside, top, bottom, left, right, border, value=_scalar(fill))

    def _affine(self, img: np.ndarray, fill: Fill, interpolation: int) -> np.ndarray:
        matrix = _CONTINUOUS_TO_INDEX @ self.matrix @ _INDEX_TO_CONTINUOUS
        height, width = self.size
        options = {'flags': interpolation, 'borderMode': cv2.BORDER_CONSTANT, 'borderValue': _scalar(fill)}
        if np.all(matrix[2] == (0, 0, 1)):  # nothing projective: the faster function does
            return cv2.warpAffine(img, matrix[:2], (width, height), **options)
        return cv2.warpPerspective(img, matrix, (width, height), **options)


def project_boxes(boxes: Tensor, matrix: np.ndarray | Tensor) -> Tensor:
    """Warp boxes (..., 4 or 5) by a 3x3 matrix: each becomes the smallest of its kind around its warped corners."""
    return geometry.project(boxes, matrix)


def map_back(instances: InstanceData, homography_matrix: np.ndarray, ori_shape: Size | None = None) -> InstanceData:
    """Map predictions on a warped image back to the original image.

    Args:
        instances: With ``bboxes`` (n, 4 or 5), a tensor or box object, and ``keypoints`` (n, k, 2 or 3), if any.
        homography_matrix: (3, 3), from the original to the warped image, as transforms accumulate it in
            ``results['homography_matrix']``.
        ori_shape: (h, w) of the original image, to which axis-aligned boxes are clipped if given.

    Returns:
        A new `InstanceData`; other fields are those of ``instances``.
    """
    inverse = np.linalg.inv(np.asarray(homography_matrix, dtype=np.float64))
    mapped = instances.new()
    if 'bboxes' in instances:
        mapped.bboxes = _boxes_back(instances.bboxes, inverse, ori_shape)
    if 'keypoints' in instances:
        mapped.keypoints = _keypoints_back(instances.keypoints, inverse)
    return mapped


def _boxes_back(bboxes: Tensor | BaseBoxes, inverse: np.ndarray, ori_shape: Size | None) -> Tensor | BaseBoxes:
    if not isinstance(bboxes, BaseBoxes):
        boxes = project_boxes(bboxes, inverse)
        return boxes if ori_shape is None else geometry.clip(boxes, ori_shape)
    boxes = bboxes.clone()
    boxes.project_(inverse)
    if ori_shape is not None:
        boxes.clip_(ori_shape)
    return boxes


def _keypoints_back(keypoints: Tensor | np.ndarray, inverse: np.ndarray) -> Tensor | np.ndarray:
    matrix = torch.from_numpy(inverse)
    points = torch.as_tensor(keypoints)
    homogeneous = points[..., :2].double().cpu() @ matrix[:, :2].T + matrix[:, 2]
    mapped = torch.cat([(homogeneous[..., :2] / homogeneous[..., 2:]).to(points), points[..., 2:]], dim=-1)
    return mapped.numpy() if isinstance(keypoints, np.ndarray) else mapped


def _size(size: Size) -> Size:
    return int(size[0]), int(size[1])


def _check_choice(name: str, value: str, choices: dict) -> None:
    if value not in choices:
        raise ValueError(f'{name}={value!r} is unknown; expected one of {", ".join(choices)}.')


def _resize(img: np.ndarray, size: Size, interpolation: int) -> np.ndarray:
    if img.shape[:2] == size:
        return img
    return cv2.resize(img, (size[1], size[0]), interpolation=interpolation)


def _scalar(fill: Fill) -> tuple[float, ...]:
    """A fill as OpenCV needs it, one number a channel; a bare number would fill the first channel only."""
    return (float(fill),) * 4 if np.isscalar(fill) else tuple(float(value) for value in fill)


def _filled(like: np.ndarray, size: Size, fill: Fill) -> np.ndarray:
    blank = np.empty(size + like.shape[2:], dtype=like.dtype)
    blank[:] = fill
    return blank
