"""The base of bitmaps and polygons: every change of geometry is a `Warp`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from mmdetlike.structures.bbox import BaseBoxes, HorizontalBoxes, get_box_type
from mmdetlike.structures.warp import Warp


class BaseInstanceMasks(ABC):
    """Masks of the n instances of an image of ``height`` x ``width`` pixels.

    Methods return new masks. A subclass supplies `warp` and what depends on how the masks are stored.
    """

    height: int
    width: int

    @abstractmethod
    def warp(self, warp: Warp, fill: int = 0) -> 'BaseInstanceMasks':
        """The masks of the warped image; bitmaps are ``fill`` (0 or 1) where the old image doesn't reach."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index) -> 'BaseInstanceMasks': ...

    @property
    @abstractmethod
    def areas(self) -> np.ndarray:
        """(n,) areas in square pixels."""

    @abstractmethod
    def to_ndarray(self) -> np.ndarray:
        """(n, h, w) uint8, 0 or 1."""

    @abstractmethod
    def extents(self) -> np.ndarray:
        """(n, 4) float32 corners of the boxes around the masks, zeros for an empty mask."""

    @abstractmethod
    def crop_and_resize(
        self,
        bboxes: np.ndarray | Tensor,
        out_shape: tuple[int, int],
        inds: np.ndarray | Tensor,
        device: str | torch.device = 'cpu',
        interpolation: str = 'bilinear',
        binarize: bool = True,
    ) -> 'BaseInstanceMasks':
        """Cut each of m boxes out of the mask of its instance and resize it to ``out_shape``.

        Args:
            bboxes: (m, 4), xyxy in pixels.
            out_shape: (h, w) of the results.
            inds: (m,), index of the mask from which to cut.
            device: Accepted for compatibility; the masks are on the CPU and cut there.
            interpolation: Must be 'bilinear' for bitmaps; polygons need none.
            binarize: Round the results to 0 or 1.
        """

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the image."""
        return self.height, self.width

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_masks={len(self)}, height={self.height}, width={self.width})'

    def __iter__(self):
        return (self[i : i + 1] for i in range(len(self)))

    def to_tensor(self, dtype: torch.dtype, device: str | torch.device) -> Tensor:
        """(n, h, w) of 0 and 1."""
        return torch.as_tensor(self.to_ndarray(), dtype=dtype, device=device)

    def get_bboxes(self, dst_type: str = 'hbox') -> BaseBoxes:
        """The boxes (n, 4) around the masks, of the registered type ``dst_type``; zeros for an empty mask."""
        _, box_class = get_box_type(dst_type)
        if box_class is HorizontalBoxes:
            return HorizontalBoxes(self.extents(), clone=False)
        return box_class.from_instance_masks(self)

    def rescale(self, scale: float | tuple[int, int], interpolation: str = 'nearest') -> 'BaseInstanceMasks':
        """Resize, keeping the aspect ratio, by a factor or to the largest size within two bounds (w, h).

        ``interpolation`` is accepted for compatibility; masks are always resized to the nearest pixel.
        """
        if not isinstance(scale, (int, float)):
            longer = max(scale)
            shorter = min(scale)
            scale = min(longer / max(self.size), shorter / min(self.size))
        return self.resize((int(self.height * scale + 0.5), int(self.width * scale + 0.5)), interpolation)

    def resize(self, out_shape: tuple[int, int], interpolation: str = 'nearest') -> 'BaseInstanceMasks':
        """Resize to (h, w); ``interpolation`` is accepted for compatibility."""
        return self.warp(Warp.resize(self.size, out_shape))

    def flip(self, flip_direction: str = 'horizontal') -> 'BaseInstanceMasks':
        """Mirror: 'horizontal' (left becomes right), 'vertical' or 'diagonal' (both)."""
        return self.warp(Warp.flip(self.size, flip_direction))

    def pad(self, out_shape: tuple[int, int], pad_val: int = 0) -> 'BaseInstanceMasks':
        """Widen to (h, w) at the right and the bottom; bitmaps are filled with ``pad_val``.

        Masks of that size are returned as they are: a batch of masks is large, and needn't be there twice.
        """
        if tuple(out_shape) == tuple(self.size):
            return self
        return self.warp(Warp.window(self.size, 0, 0, *out_shape), pad_val)

    def crop(self, bbox: Sequence[int] | np.ndarray) -> 'BaseInstanceMasks':
        """Keep the window (x1, y1, x2, y2) of whole pixels, clipped to the image, of at least one pixel."""
        bbox = np.asarray(bbox)
        if bbox.shape != (4,):
            raise ValueError(f'crop needs one box (x1, y1, x2, y2), got shape {bbox.shape}.')
        x1, x2 = (int(x) for x in bbox[0::2].clip(0, self.width))
        y1, y2 = (int(y) for y in bbox[1::2].clip(0, self.height))
        return self.warp(Warp.window(self.size, x1, y1, max(y2 - y1, 1), max(x2 - x1, 1)))

    def expand(self, expanded_h: int, expanded_w: int, top: int, left: int) -> 'BaseInstanceMasks':
        """Place the image at (``left``, ``top``) of a larger, empty one."""
        return self.warp(Warp.window(self.size, -left, -top, expanded_h, expanded_w))

    def translate(
        self, out_shape: tuple[int, int], offset: float, direction: str = 'horizontal', border_value: int = 0
    ) -> 'BaseInstanceMasks':
        """Shift by ``offset`` pixels, to the right or ('vertical') down."""
        matrix = np.eye(3)
        matrix[_axis(direction), 2] = offset
        return self.warp(Warp.affine(matrix, out_shape, self.size), border_value)

    def shear(
        self, out_shape: tuple[int, int], magnitude: float, direction: str = 'horizontal', border_value: int = 0
    ) -> 'BaseInstanceMasks':
        """Shear: x + ``magnitude`` * y, or ('vertical') y + ``magnitude`` * x."""
        matrix = np.eye(3)
        axis = _axis(direction)
        matrix[axis, 1 - axis] = magnitude
        return self.warp(Warp.affine(matrix, out_shape, self.size), border_value)

    def rotate(
        self,
        out_shape: tuple[int, int],
        angle: float,
        center: tuple[float, float] | None = None,
        scale: float = 1.0,
        border_value: int = 0,
    ) -> 'BaseInstanceMasks':
        """Rotate clockwise by ``angle`` degrees about ``center`` (x, y), by default that of the image, and scale."""
        center = center or (self.width / 2, self.height / 2)
        matrix = np.eye(3)
        matrix[:2] = cv2.getRotationMatrix2D(center, -angle, scale)  # OpenCV turns counterclockwise
        return self.warp(Warp.affine(matrix, out_shape, self.size), border_value)


def _axis(direction: str) -> int:
    if direction not in ('horizontal', 'vertical'):
        raise ValueError(f"direction={direction!r} is unknown; expected 'horizontal' or 'vertical'.")
    return int(direction == 'vertical')


def index_array(index, length: int) -> np.ndarray:
    """The instances, as an index array, that an int, slice, list, array or tensor selects from ``length``."""
    if isinstance(index, Tensor):
        index = index.cpu().numpy()
    if isinstance(index, list) and not index:  # numpy takes [] for floats, which are no indices
        index = slice(0)
    return np.atleast_1d(np.arange(length)[index])


def as_array(values: np.ndarray | Tensor) -> np.ndarray:
    """A tensor or array, as an array."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
