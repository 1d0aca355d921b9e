"""The base of all box classes: a tensor whose last dimension holds one box."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdetlike.structures.bbox import geometry


class BaseBoxes(ABC):
    """A tensor of boxes that carries its geometry. Methods that end in ``_`` change the boxes in place.

    A subclass sets ``box_dim``, the number of values of a box, and supplies the geometry.

    Args:
        data: (..., ``box_dim``) tensor, array or nested list; an empty one may have any shape.
        dtype: Of the result; that of ``data`` by default, float32 for a list.
        device: Of the result; that of ``data`` by default.
        clone: Whether to copy ``data``.

    Raises:
        ValueError: The last dimension of ``data`` isn't ``box_dim``.
    """

    box_dim: int = 0

    def __init__(
        self,
        data: Tensor | np.ndarray | Sequence,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        clone: bool = True,
    ) -> None:
        if not isinstance(data, (Tensor, np.ndarray)):
            dtype = dtype or torch.float32
        tensor = torch.as_tensor(data, dtype=dtype, device=device)
        if tensor.numel() == 0 and tensor.shape[-1:] != (self.box_dim,):
            tensor = tensor.reshape(-1, self.box_dim)
        if tensor.dim() < 2 or tensor.shape[-1] != self.box_dim:
            shape = tuple(tensor.shape)
            cls = type(self).__name__
            raise ValueError(f'{cls} needs data of shape (..., n, {self.box_dim}), but its shape is {shape}.')
        self.tensor = tensor.clone() if clone else tensor

    # Geometry: what a subclass supplies, and what follows from the number of values of a box.

    @property
    def centers(self) -> Tensor:
        """(..., 2), x and y."""
        return geometry.centers(self.tensor)

    @property
    def areas(self) -> Tensor:
        """(...), in square pixels."""
        return geometry.areas(self.tensor)

    @property
    def widths(self) -> Tensor:
        """(...), in pixels."""
        return geometry.sizes(self.tensor)[..., 0]

    @property
    def heights(self) -> Tensor:
        """(...), in pixels."""
        return geometry.sizes(self.tensor)[..., 1]

    def nonempty(self, threshold: float = 0.0) -> Tensor:
        """(...) bool: whether both sides are longer than ``threshold`` pixels."""
        return geometry.is_larger(self.tensor, threshold)

    def translate_(self, distances: tuple[float, float]) -> None:
        """Shift by (x, y)."""
        self.tensor.copy_(geometry.translate(self.tensor, distances))

    def clip_(self, img_shape: tuple[int, int]) -> None:
        """Clip axis-aligned boxes to an image of (h, w); boxes of other kinds stay whole."""
        self.tensor.copy_(geometry.clip(self.tensor, img_shape))

    def rescale_(self, scale_factor: tuple[float, float]) -> None:
        """Scale the coordinates by (w, h), as when the image is resized."""
        self.tensor.copy_(geometry.scale(self.tensor, scale_factor))

    def project_(self, homography_matrix: Tensor | np.ndarray) -> None:
        """Warp by a 3x3 matrix, as the image: each box becomes the smallest one around its warped corners."""
        self.tensor.copy_(geometry.project(self.tensor, homography_matrix))

    def rotate_(self, center: tuple[float, float], angle: float) -> None:
        """Rotate clockwise by ``angle`` degrees about ``center`` (x, y), as the image."""
        x, y = center
        cos = math.cos(math.radians(angle))
        sin = math.sin(math.radians(angle))
        # y points down, so the usual counterclockwise matrix turns clockwise; its last column keeps the center fixed
        self.project_(np.array([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y], [0, 0, 1]]))

    @classmethod
    def from_plain(cls, boxes: Tensor) -> 'BaseBoxes':
        """Convert a tensor of boxes (..., 4, 5 or 8), of the kind that `geometry` gives that number, to this class."""
        raise NotImplementedError(f'{cls.__name__} does not say how other boxes become such boxes.')

    @abstractmethod
    def flip_(self, img_shape: tuple[int, int], direction: str = 'horizontal') -> None:
        """Mirror with an image of (h, w)."""

    @abstractmethod
    def resize_(self, scale_factor: tuple[float, float]) -> None:
        """Scale widths and heights about the centers, by (w, h)."""

    @abstractmethod
    def is_inside(self, img_shape: tuple[int, int], all_inside: bool = False, allowed_border: int = 0) -> Tensor:
        """(...) bool: whether each box lies partly or, with ``all_inside``, wholly in an image of (h, w)."""

    def find_inside_points(self, points: Tensor, is_aligned: bool = False, eps: float = 0.01) -> Tensor:
        """Whether points lie inside boxes, by more than ``eps`` pixels.

        Args:
            points: (m, 2).
            is_aligned: Compare point i with box i only; then m must equal n.
            eps: In pixels.

        Returns:
            (m, n) bool, or (n,) if ``is_aligned``.
        """
        points = points if is_aligned else points[:, None]
        return (geometry.side_distances(points, self.tensor) > eps).all(-1)

    @staticmethod
    @abstractmethod
    def overlaps(boxes1, boxes2, mode: str = 'iou', is_aligned: bool = False, eps: float = 1e-6) -> Tensor:
        """Overlaps of two sets of boxes."""

    @staticmethod
    @abstractmethod
    def from_instance_masks(masks) -> 'BaseBoxes':
        """The boxes that enclose masks."""

    # Container: what a tensor can do, done with boxes.

    def _with(self, tensor: Tensor) -> 'BaseBoxes':
        return type(self)(tensor, clone=False)

    def empty_boxes(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> 'BaseBoxes':
        """No boxes, shape (0, ``box_dim``), by default of this one's dtype and device."""
        return self._with(self.tensor.new_zeros((0, self.box_dim), dtype=dtype, device=device))

    def fake_boxes(self, sizes: Sequence[int], fill: float = 0) -> 'BaseBoxes':
        """Boxes of shape ``sizes`` whose values are all ``fill``, of this one's dtype and device."""
        return self._with(self.tensor.new_full(tuple(sizes), fill))

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: Any) -> 'BaseBoxes':
        if isinstance(index, np.ndarray):
            index = torch.as_tensor(index, device=self.tensor.device)
        boxes = self.tensor[index]
        # one index would drop the dimension of the boxes, which every object of this class has
        return self._with(boxes[None] if boxes.dim() == 1 else boxes)

    def __setitem__(self, index: Any, values: 'Tensor | BaseBoxes') -> None:
        if isinstance(index, np.ndarray):
            index = torch.as_tensor(index, device=self.tensor.device)
        self.tensor[index] = values.tensor if isinstance(values, BaseBoxes) else values

    def __iter__(self):
        return (self._with(boxes) for boxes in self.tensor.split(1))

    def __deepcopy__(self, memo: dict) -> 'BaseBoxes':
        copied = memo[id(self)] = self.clone()
        return copied

    def __repr__(self) -> str:
        return f'{type(self).__name__}(\n{self.tensor})'

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    @property
    def dtype(self) -> torch.dtype:
        return self.tensor.dtype

    @property
    def shape(self) -> torch.Size:
        return self.tensor.shape

    def size(self, dim: int | None = None) -> torch.Size | int:
        return self.tensor.shape if dim is None else self.tensor.shape[dim]

    def dim(self) -> int:
        return self.tensor.dim()

    def numel(self) -> int:
        return self.tensor.numel()

    def numpy(self) -> np.ndarray:
        return self.tensor.detach().cpu().numpy()

    def to(self, *args, **kwargs) -> 'BaseBoxes':
        """As ``torch.Tensor.to``."""
        return self._with(self.tensor.to(*args, **kwargs))

    def cpu(self) -> 'BaseBoxes':
        return self._with(self.tensor.cpu())

    def cuda(self, *args, **kwargs) -> 'BaseBoxes':
        return self._with(self.tensor.cuda(*args, **kwargs))

    def clone(self) -> 'BaseBoxes':
        return self._with(self.tensor.clone())

    def detach(self) -> 'BaseBoxes':
        return self._with(self.tensor.detach())

    def new_tensor(self, *args, **kwargs) -> Tensor:
        return self.tensor.new_tensor(*args, **kwargs)

    def new_zeros(self, *args, **kwargs) -> Tensor:
        return self.tensor.new_zeros(*args, **kwargs)

    def new_full(self, *args, **kwargs) -> Tensor:
        return self.tensor.new_full(*args, **kwargs)

    @classmethod
    def cat(cls, box_list: Sequence['BaseBoxes'], dim: int = 0) -> 'BaseBoxes':
        """Concatenate boxes along ``dim``, which isn't the last."""
        return cls(torch.cat([b.tensor for b in box_list], dim=dim), clone=False)

    @classmethod
    def stack(cls, box_list: Sequence['BaseBoxes'], dim: int = 0) -> 'BaseBoxes':
        """Stack boxes along a new ``dim``, which isn't the last."""
        return cls(torch.stack([b.tensor for b in box_list], dim=dim), clone=False)
