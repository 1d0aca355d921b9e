"""Padding masks: where the images of a batch have padding."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdetlike.structures import SampleList


def padding_of(samples: SampleList, device: torch.device) -> Tensor | None:
    """(B, H, W) True where images of a batch have padding; None where none has."""
    return padding_masks([sample.img_shape for sample in samples], samples[0].batch_input_shape, device)


def padding_masks(img_shapes: Sequence[tuple[int, int]], batch_shape: tuple[int, int], device) -> Tensor | None:
    """(B, H, W) True where a batch of images has padding; None where no image has any."""
    # None spares attention a mask, with which the fastest kernels can't run
    if all(tuple(shape[:2]) == tuple(batch_shape) for shape in img_shapes):
        return None
    masks = torch.ones(len(img_shapes), *batch_shape, dtype=torch.bool, device=device)
    for mask, (height, width, *_) in zip(masks, img_shapes):
        mask[:height, :width] = False
    return masks
