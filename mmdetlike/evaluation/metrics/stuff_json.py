"""Classes of pixels in the format of COCO's stuff challenge."""

from collections.abc import Sequence

import numpy as np
import torch

from ...errors import ConfigError
from .convert import encode_masks, to_numpy


def semantic_to_coco(
    classes: np.ndarray | torch.Tensor, file_name: str, category_ids: Sequence[int] | None = None
) -> list[dict]:
    """One entry for each class that a picture shows: ``file_name``, ``category_id`` and ``segmentation``, an RLE.

    Args:
        classes: Class of each pixel, (h, w) or (1, h, w), as ``pred_sem_seg.sem_seg`` has it.
        file_name: What the picture is called.
        category_ids: What the annotation file calls each class; the numbers of the classes where None. Pixels of other
            classes, as 255, are in no entry.

    Raises:
        ConfigError: ``classes`` isn't a map.
    """
    pixels = to_numpy(classes)
    pixels = pixels[0] if pixels.ndim == 3 and len(pixels) == 1 else pixels
    if pixels.ndim != 2:
        raise ConfigError(f'semantic_to_coco: {file_name}: expected classes of shape (h, w), got {pixels.shape}')
    present = [int(label) for label in np.unique(pixels)]
    known = [label for label in present if category_ids is None or 0 <= label < len(category_ids)]
    masks = encode_masks(np.stack([pixels == label for label in known])) if known else []
    numbers = known if category_ids is None else [category_ids[label] for label in known]
    return [dict(file_name=file_name, category_id=number, segmentation=mask) for number, mask in zip(numbers, masks)]
