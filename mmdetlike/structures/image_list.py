"""Images of different sizes in one tensor."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


class ImageList:
    """A batch of images that were padded at the right and the bottom to one size, with the size that each had.

    Args:
        tensor: (n, h, w) or (n, c, ..., h, w).
        image_sizes: (height, width) in pixels of each image without padding.
    """

    def __init__(self, tensor: Tensor, image_sizes: Sequence[tuple[int, int]]) -> None:
        self.tensor = tensor
        self.image_sizes = [tuple(size) for size in image_sizes]

    @classmethod
    def from_tensors(
        cls,
        tensors: Sequence[Tensor],
        size_divisibility: int = 0,
        pad_value: float = 0.0,
        padding_constraints: dict[str, int] | None = None,
    ) -> 'ImageList':
        """Pad images to the largest height and the largest width of all.

        Args:
            tensors: Images (..., h_i, w_i), alike but for height and width.
            size_divisibility: If more than 1, height and width become multiples of it.
            pad_value: What the padding is filled with.
            padding_constraints: ``size_divisibility`` as it says, and ``square_size``: if positive, height and width
                of the batch. Wins over ``size_divisibility``.

        Raises:
            ValueError: There is no image, images differ in more than height and width, or one is larger than the
                square.
        """
        shapes = {tuple(image.shape[:-2]) for image in tensors}
        if len(shapes) != 1:
            raise ValueError(f'ImageList needs images (..., h, w) alike but for h and w, got leading shapes {shapes}.')
        constraints = {'size_divisibility': size_divisibility, 'square_size': 0, **(padding_constraints or {})}
        sizes = [tuple(image.shape[-2:]) for image in tensors]
        height, width = _common_size(sizes, constraints['size_divisibility'], constraints['square_size'])
        padded = [F.pad(image, (0, width - w, 0, height - h), value=pad_value) for image, (h, w) in zip(tensors, sizes)]
        return cls(torch.stack(padded), sizes)

    def __len__(self) -> int:
        return len(self.image_sizes)

    def __getitem__(self, index: int) -> Tensor:
        """The image (..., h, w) without padding."""
        height, width = self.image_sizes[index]
        return self.tensor[index, ..., :height, :width]

    def to(self, *args, **kwargs) -> 'ImageList':
        """As ``torch.Tensor.to``."""
        return ImageList(self.tensor.to(*args, **kwargs), self.image_sizes)

    @property
    def device(self) -> torch.device:
        return self.tensor.device


def _common_size(sizes: Sequence[tuple[int, int]], divisor: int, square: int) -> tuple[int, int]:
    height = max(size[0] for size in sizes)
    width = max(size[1] for size in sizes)
    if square > 0:
        if max(height, width) > square:
            raise ValueError(f'ImageList: square_size is {square}, but an image has {height} x {width} pixels.')
        return square, square
    if divisor > 1:
        height = -(-height // divisor) * divisor
        width = -(-width // divisor) * divisor
    return height, width
