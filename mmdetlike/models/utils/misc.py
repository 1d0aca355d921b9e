"""Sizes of maps."""

import torch.nn.functional as F
from torch import Tensor

from mmdetlike.structures import DetDataSample


def to_image_size(maps: Tensor, sample: DetDataSample, rescale: bool) -> Tensor:
    """Stretch maps of a batch to its pixels and cut them to an image.

    Args:
        maps: (n, h, w) of the whole padded image.
        sample: Has ``batch_input_shape``, ``img_shape`` and, to rescale, ``ori_shape``.
        rescale: Stretch the maps further to the size of the original image.

    Returns:
        (n, H, W).
    """
    height, width = sample.img_shape[:2]
    maps = _stretch(maps, sample.batch_input_shape)[:, :height, :width]
    return _stretch(maps, sample.ori_shape[:2]) if rescale else maps


def _stretch(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if maps.shape[-2:] == tuple(size) or not len(maps):
        return maps.reshape(len(maps), *size)
    # as channels of one image: a single channel would be copied to and from channels-last memory
    return F.interpolate(maps[None], size=tuple(size), mode='bilinear', align_corners=False)[0]
