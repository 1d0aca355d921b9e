"""Parts of transforms that combine several samples into one: what they must share, and how they are put together."""

from collections.abc import Sequence

import numpy as np

from mmdetlike.datasets.transforms.base import image_size
from mmdetlike.datasets.transforms.geometric import visible
from mmdetlike.datasets.transforms.instances import INSTANCE_FIELDS, Edge, apply_warp, turned_box_pixels
from mmdetlike.errors import ConfigError
from mmdetlike.structures.bbox import BaseBoxes, HorizontalBoxes
from mmdetlike.structures.mask import BaseInstanceMasks, BitmapMasks
from mmdetlike.structures.warp import Warp

Size = tuple[int, int]


def check_images(samples: Sequence[dict]) -> None:
    """Refuse images that cannot be pixels of one image: their types or numbers of channels differ.

    Raises:
        ConfigError: They do.
    """
    first = samples[0]
    for sample in samples[1:]:
        kinds = [(each['img'].dtype.name, each['img'].shape[2:]) for each in (first, sample)]
        if kinds[0] != kinds[1]:
            told = [f'{dtype} of {(channels or (1,))[0]} channels' for dtype, channels in kinds]
            raise ConfigError(
                f'{sample.get("img_path")}, an image of {told[1]}, cannot be mixed into {first.get("img_path")}, '
                f'one of {told[0]}; load and convert both alike.'
            )


def check_scale(img_scale: Size) -> Size:
    """Return ``img_scale`` (w, h) in pixels.

    Raises:
        ValueError: It isn't two positive numbers.
    """
    if len(img_scale) != 2 or min(img_scale) <= 0:
        raise ValueError(f'img_scale must be (w, h), both positive, got {img_scale}.')
    return tuple(int(side) for side in img_scale)


def has_objects(dataset: Sequence, index: int) -> bool:
    """Whether a sample of a dataset, or of a list of samples, has objects; found out without loading the image."""
    if hasattr(dataset, 'get_cat_ids'):
        return len(dataset.get_cat_ids(index)) > 0
    return len(dataset[index]['gt_bboxes']) > 0


def fit_into(sample: dict, scale: Size, edge: Edge) -> None:
    """Resize a sample to the largest size within ``scale`` (w, h) that keeps its aspect ratio."""
    height, width = image_size(sample)
    ratio = min(scale[0] / width, scale[1] / height)
    new = max(int(height * ratio), 1), max(int(width * ratio), 1)
    apply_warp(sample, Warp.resize((height, width), new), edge, visible)


def blank_like(sample: dict, size: Size, edge: Edge) -> dict:
    """An empty image of (h, w) ``size``, with a label map if the sample has one."""
    img = np.empty((*size, *sample['img'].shape[2:]), dtype=sample['img'].dtype)
    img[:] = edge.img
    canvas = dict(img=img)
    if sample.get('gt_seg_map') is not None:
        canvas['gt_seg_map'] = np.full(size, edge.seg, dtype=sample['gt_seg_map'].dtype)
    return canvas


def put_on_canvas(sample: dict, canvas: dict, x0: int, y0: int, edge: Edge) -> None:
    """Put a sample's pixels on the canvas with their top left corner at (x0, y0); its other fields are moved along."""
    old = image_size(sample)
    size = canvas['img'].shape[:2]
    top, bottom = np.clip((y0, y0 + old[0]), 0, size[0])
    left, right = np.clip((x0, x0 + old[1]), 0, size[1])
    for field, pixels in canvas.items():
        moved = sample.pop(field)  # taken out: a warp of each would make a canvas of its own
        pixels[top:bottom, left:right] = moved[top - y0 : bottom - y0, left - x0 : right - x0]
    sample['img_shape'] = old
    apply_warp(sample, Warp.window(old, -x0, -y0, *size), edge, visible)


def check_label_maps(samples: Sequence[dict]) -> None:
    """Refuse samples of which only some have a label map.

    Raises:
        ConfigError: They do.
    """
    paths = {sample.get('gt_seg_map') is not None: sample.get('img_path') for sample in samples}
    if len(paths) > 1:
        raise ConfigError(
            f'{paths[False]} has no gt_seg_map and cannot be mixed with {paths[True]}, which has one; load the same '
            f'for both.'
        )


def shared_fields(samples: Sequence[dict]) -> list[str]:
    """The instance fields that the first sample has, which all others must have too.

    Raises:
        ConfigError: One lacks it.
    """
    fields = [field for field in INSTANCE_FIELDS if samples[0].get(field) is not None]
    for sample in samples[1:]:
        missing = [field for field in fields if sample.get(field) is None]
        if type(sample.get('gt_bboxes')) is not type(samples[0].get('gt_bboxes')):
            kinds = ' and '.join(type(each.get('gt_bboxes')).__name__ for each in (samples[0], sample))
            raise ConfigError(
                f'{sample.get("img_path")} cannot be mixed into {samples[0].get("img_path")}: their boxes are {kinds}; '
                'load boxes of one box_type.'
            )
        if missing:
            raise ConfigError(
                f'{sample.get("img_path")} cannot be mixed into {samples[0].get("img_path")}, which has '
                f'{", ".join(missing)} while it has not; load the same for both.'
            )
    return fields


def join(samples: Sequence[dict]) -> dict:
    """The first sample with the instances of all of them."""
    fields = shared_fields(samples)
    return {**samples[0], **{field: cat([sample[field] for sample in samples]) for field in fields}}


def cat(parts: Sequence) -> BaseBoxes | BaseInstanceMasks | np.ndarray:
    """Concatenate boxes, masks or arrays."""
    if isinstance(parts[0], (BaseBoxes, BaseInstanceMasks)):
        return type(parts[0]).cat(parts)
    return np.concatenate(parts)


def bitmaps(sample: dict, by_box: bool) -> BitmapMasks:
    """The masks of a sample as bitmaps; with ``by_box``, bitmaps of its whole boxes instead."""
    height, width = image_size(sample)
    if not by_box:
        return sample['gt_masks'].to_bitmap()
    boxes = sample['gt_bboxes']
    if not isinstance(boxes, HorizontalBoxes):
        return BitmapMasks(turned_box_pixels(boxes, (height, width)), height, width)
    masks = np.zeros((len(boxes), height, width), dtype=np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.tensor.round().int().tolist()):
        mask[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = 1
    return BitmapMasks(masks, height, width)
