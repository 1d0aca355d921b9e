"""Instance masks as small grids over their boxes, as a mask head predicts them."""

from collections.abc import Sequence

from torch import Tensor

from mmdetlike.structures.bbox import BaseBoxes, get_box_tensor
from mmdetlike.structures.mask.bitmap_masks import BitmapMasks
from mmdetlike_ops import paste_masks


class ROIMasks:
    """Masks (n, m, m) of n instances, each a grid of probabilities over the box of its instance.

    Args:
        tensor: (n, m, m).

    Raises:
        ValueError: The shape isn't (n, m, m).
    """

    def __init__(self, tensor: Tensor) -> None:
        if tensor.dim() != 3:
            raise ValueError(f'ROIMasks need data of shape (n, m, m), but its shape is {tuple(tensor.shape)}.')
        self.tensor = tensor

    def to_bitmasks(self, boxes: Tensor | BaseBoxes, height: int, width: int, threshold: float = 0.5) -> BitmapMasks:
        """Stretch the masks over their boxes in an image; see `mmdetlike_ops.paste_masks`.

        Args:
            boxes: (n, 4) xyxy in pixels, a tensor or box objects.
            height, width: Of the image in pixels.
            threshold: The probability from which a pixel belongs to its mask.
        """
        pasted = paste_masks(self.tensor, get_box_tensor(boxes), height, width, threshold)
        return BitmapMasks(pasted.byte().cpu().numpy(), height, width)

    def to(self, *args, **kwargs) -> 'ROIMasks':
        """As ``torch.Tensor.to``."""
        return ROIMasks(self.tensor.to(*args, **kwargs))

    @property
    def device(self):
        return self.tensor.device

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> 'ROIMasks':
        return ROIMasks(self.tensor[[index]] if isinstance(index, int) else self.tensor[index])

    def __iter__(self):
        return iter(self.tensor)

    def __repr__(self) -> str:
        return f'ROIMasks(num_instances={len(self)})'
