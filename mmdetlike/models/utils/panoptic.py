"""Ground truth of semantic and panoptic segmentation."""

import torch
from torch import Tensor

from mmdetlike.structures import SampleList
from mmdetlike.structures.mask import BaseInstanceMasks

from .instance_masks import annotated_masks


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
