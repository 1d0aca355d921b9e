"""How colors are chosen for what is drawn."""

from enum import Enum

import numpy as np

from mmdetlike.errors import ConfigError

# the same for the first and the last channel: pictures are RGB or BGR
GRAY_WEIGHTS = np.array([0.2, 0.6, 0.2])


class ColorMode(Enum):
    """How colors are chosen; names and meanings are those of Detectron2.

    | mode | colors |
    |---|---|
    | IMAGE | one an instance, so that neighbors of a class can be told apart |
    | SEGMENTATION | one a class |
    | IMAGE_BW | one an instance; the picture is gray outside of masks |
    """

    IMAGE = 'image'
    SEGMENTATION = 'segmentation'
    IMAGE_BW = 'image_bw'

    @classmethod
    def of(cls, mode: 'ColorMode | str') -> 'ColorMode':
        """The mode of a name, or the mode itself.

        Raises:
            ConfigError: There is none.
        """
        try:
            return cls(mode)
        except ValueError:
            raise ConfigError(f'color_mode={mode!r}; expected one of {", ".join(each.value for each in cls)}') from None

    @property
    def is_by_class(self) -> bool:
        """Whether instances of a class have one color."""
        return self is ColorMode.SEGMENTATION


def gray_outside(image: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
    """An image (h, w, 3) that is gray wherever none of the masks (n, h, w) is."""
    gray = np.repeat(image.dot(GRAY_WEIGHTS)[..., None].round(), 3, axis=2).astype(np.uint8)
    if masks is None or not len(masks):
        return gray
    inside = np.asarray(masks, dtype=bool).any(0)
    return np.where(inside[..., None], image, gray)
