"""Masks stretched over boxes of whole pixels, as torchvision does."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike.structures.bbox import geometry


def paste_whole_pixels(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float = 0.5) -> Tensor:
    """Stretch each of ``masks`` (n, h, w) over its box of ``boxes`` (n, 4) xyxy, rounded to whole pixels.

    Returns masks (n, height, width) bool of an image, true where the stretched probability is above ``threshold``.
    """
    pasted = torch.zeros(len(masks), height, width, dtype=torch.bool, device=masks.device)
    # a border of nothing, over which the mask fades; the box grows by as much
    padded = F.pad(masks.float(), (1, 1, 1, 1))
    whole = geometry.resized(boxes, padded.shape[-1] / max(masks.shape[-1], 1)).long().tolist()
    for image, mask, (x1, y1, x2, y2) in zip(pasted, padded, whole):
        # pixels in which a box begins or ends belong to it
        size = (max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1))
        stretched = F.interpolate(mask[None, None], size=size, mode='bilinear', align_corners=False)[0, 0] > threshold
        top = max(y1, 0)
        left = max(x1, 0)
        inside = image[top : max(y2 + 1, 0), left : max(x2 + 1, 0)]
        inside.copy_(stretched[top - y1 :, left - x1 :][: inside.shape[0], : inside.shape[1]])
    return pasted
