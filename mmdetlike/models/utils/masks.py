"""Masks of images: reading annotated ones, of instances and of stuff, and bringing predicted ones to the image."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike.structures import BaseInstanceMasks, DetDataSample, SampleList

# masks that are enlarged at once
CHUNK = 32


def annotated_masks(sample: DetDataSample, part: str) -> BaseInstanceMasks:
    """The masks of a sample's objects; if there are none, a ``ValueError`` names ``part`` as what needs them."""
    masks = sample.gt_instances.get('masks')
    if masks is None:
        raise ValueError(
            f'{part} needs gt_instances.masks; {sample.get("img_path")} has none (load them with '
            'LoadAnnotations(with_mask=True) or LoadPanopticAnnotations)'
        )
    return masks


def require_masks(samples: SampleList, part: str) -> None:
    """Raise a ValueError that names ``part`` if the objects of a sample have no ``masks``."""
    for sample in samples:
        annotated_masks(sample, part)


def semantic_maps(samples: SampleList) -> Tensor:
    """(B, H, W) the classes of the samples' pixels; a ``ValueError`` if one has no ``gt_sem_seg``, or sizes differ."""
    for sample in samples:
        if sample.get('gt_sem_seg') is None:
            raise ValueError(
                f'a semantic head needs gt_sem_seg; {sample.get("img_path")} has none (load it with '
                'LoadAnnotations(with_seg=True) or LoadPanopticAnnotations)'
            )
    sizes = sorted({tuple(sample.gt_sem_seg.sem_seg.shape[-2:]) for sample in samples})
    if len(sizes) > 1:
        raise ValueError(
            f'gt_sem_seg of the images of a batch has sizes (height, width) {sizes[0]} and {sizes[-1]}: set '
            'data_preprocessor=dict(pad_seg=True, seg_pad_value=255), which pads label maps as it pads images'
        )
    return torch.cat([sample.gt_sem_seg.sem_seg.long() for sample in samples])


def preprocess_panoptic_gt(
    gt_labels: Tensor,
    gt_masks: BaseInstanceMasks,
    gt_semantic_seg: Tensor | None,
    num_things: int,
    num_stuff: int,
    img_metas: dict | None = None,
) -> tuple[Tensor, Tensor]:
    """Labels (n + s,) and masks (n + s, h, w), int64, of an image's things, each an instance, then its stuff, by class.

    Args:
        gt_labels: Classes of the things, (n,).
        gt_masks: Masks of the things.
        gt_semantic_seg: Class of each pixel, (1, h, w) or (h, w); things are in [0, num_things), stuff in
            [num_things, num_things + num_stuff), and 255 is ignored. None if there is no stuff.
        num_things, num_stuff: Numbers of classes of things and of stuff.
        img_metas: Kept for callers of 2.x; masks have the size of the batch already.
    """
    things = gt_masks.to_tensor(dtype=torch.bool, device=gt_labels.device)
    if gt_semantic_seg is None:
        return gt_labels, things.long()
    semantic = gt_semantic_seg.squeeze(0).to(gt_labels.device)
    classes = semantic.unique()
    classes = classes[(classes >= num_things) & (classes < num_things + num_stuff)]
    # one mask for each class: stuff has no instances
    stuff = semantic == classes[:, None, None]
    return torch.cat([gt_labels, classes.to(gt_labels.dtype)]), torch.cat([things, stuff]).long()


def mask_centroids(masks: np.ndarray) -> tuple[Tensor, Tensor]:
    """Centers of mass of masks (n, h, w): x and y in pixels (n, 2), zeros where empty, and areas (n,)."""
    columns, rows = (np.asarray(masks.sum(axis, dtype=np.int64)) for axis in (1, 2))
    areas = columns.sum(1)
    # of sums along one axis: the coordinates of all pixels would take as much memory as the masks in float64
    moments = [line @ np.arange(line.shape[1]) for line in (columns, rows)]
    centroids = np.stack(moments, 1) / np.maximum(areas, 1)[:, None]
    return torch.from_numpy(centroids).float(), torch.from_numpy(areas)


def crop_or_pad(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut maps (..., h, w) to ``size``, or fill them up with zeros, at the right and bottom."""
    # a negative amount cuts
    return F.pad(maps, (0, size[1] - maps.shape[-1], 0, size[0] - maps.shape[-2]))


def aligned_bilinear(maps: Tensor, factor: int) -> Tensor:
    """Enlarge maps (n, c, h, w) to (n, c, factor * h, factor * w), each old pixel staying where it was.

    Unlike ``F.interpolate``, value [i, j] is found again at [factor * i + factor // 2, factor * j + factor // 2]. A
    ``factor`` below 1 raises ``ValueError``.
    """
    if factor < 1:
        raise ValueError(f'factor must be at least 1, got {factor}')
    if factor == 1:
        return maps
    height, width = (side * factor for side in maps.shape[-2:])
    maps = F.pad(maps, (0, 1, 0, 1), mode='replicate')
    maps = F.interpolate(maps, (height + 1, width + 1), mode='bilinear', align_corners=True)
    return F.pad(maps, (factor // 2, 0, factor // 2, 0), mode='replicate')[..., :height, :width]


def masks_in_image(
    masks: Tensor,
    upsample: Callable[[Tensor], Tensor],
    img_shape: tuple[int, int],
    out_shape: tuple[int, int],
    threshold: float,
) -> Tensor:
    """Masks (n, *out_shape) bool of an image, from ``masks`` (n, h, w), coarse probabilities of the padded image.

    ``upsample`` brings (1, m, h, w) to the size of the padded image, of which ``img_shape``, (height, width), is no
    padding. What is above ``threshold`` is inside.
    """
    out = torch.zeros(len(masks), *out_shape, dtype=torch.bool, device=masks.device)
    # a hundred masks of a large image in float32 would take a gigabyte
    for start in range(0, len(masks), CHUNK):
        part = upsample(masks[None, start : start + CHUNK])[..., : img_shape[0], : img_shape[1]]
        if tuple(part.shape[-2:]) != tuple(out_shape):
            part = F.interpolate(part, tuple(out_shape), mode='bilinear', align_corners=False)
        out[start : start + CHUNK] = part[0] > threshold
    return out


def masks_at_stride(sample: DetDataSample, stride: int, size: tuple[int, int], part: str) -> Tensor:
    """(m, *size) the masks of a sample's objects: one pixel of each square of ``stride``, near its middle.

    They are cut or filled at the right and the bottom, as images of a batch may be padded; ``part`` needs them.
    """
    masks = annotated_masks(sample, part).to_ndarray()[:, stride // 2 :: stride, stride // 2 :: stride]
    return crop_or_pad(torch.from_numpy(masks), size)
