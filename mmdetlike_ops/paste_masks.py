"""Pasting the masks of boxes into the image."""

import torch
from torch import Tensor

from ._checks import MOST_PIXELS, check_device, check_floating, check_plane, check_range, check_shape
from ._library import kernels


@torch.library.register_fake('mmdetlike_ops::paste_masks')
def _fake_paste_masks(masks, boxes, height, width, threshold):
    return masks.new_empty(masks.shape[0], height, width, dtype=torch.uint8)


def paste_masks(masks: Tensor, boxes: Tensor, img_h: int, img_w: int, threshold: float = 0.5) -> Tensor:
    """Stretch each mask over its box and threshold it at the pixels of the image (Mask R-CNN, arXiv 1703.06870).

    Masks are sampled bilinearly at the centers of the pixels; they are 0 beyond their border, and blend into it within
    half of their own pixel around the box. A box without area, or with a coordinate that is not finite, gives an empty
    mask. Takes no memory but the result, and time only for the pixels near the boxes. Carries no gradient.

    Args:
        masks: (n, h, w) probabilities.
        boxes: (n, 4) xyxy in pixels of the image; parts outside of the image are cut off.
        img_h: Height of the image in pixels.
        img_w: Width of the image in pixels.
        threshold: The probability from which a pixel belongs to the mask; if negative, probabilities are returned.

    Returns:
        (n, img_h, img_w) bool; for a negative `threshold` uint8, the probability times 255, rounded down.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape, device or value.
    """
    check_floating('paste_masks', 'masks', masks)
    check_shape('paste_masks', 'masks', masks, ('n', 'h', 'w'))
    check_plane('paste_masks', 'masks', masks)
    check_floating('paste_masks', 'boxes', boxes)
    check_shape('paste_masks', 'boxes', boxes, (masks.shape[0], 4))
    check_device('paste_masks', 'boxes', boxes, masks.device)
    check_range('paste_masks', 'img_h', img_h, 0, MOST_PIXELS)
    check_range('paste_masks', 'img_w', img_w, 0, MOST_PIXELS)
    pasted = kernels.paste_masks(masks.detach(), boxes.detach().double(), img_h, img_w, float(threshold))
    return pasted if threshold < 0 else pasted.view(torch.bool)
