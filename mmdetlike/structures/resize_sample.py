"""Resizing what a packed sample holds when the batch that it belongs to is resized."""

import torch
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from mmdetlike.structures.bbox import BaseBoxes
from mmdetlike.structures.det_data_sample import DetDataSample
from mmdetlike.structures.mask import BaseInstanceMasks
from mmdetlike.structures.warp import Size, Warp, project_boxes

_SHAPES = ('img_shape', 'pad_shape')


def resize_sample(sample: DetDataSample, warp: Warp) -> None:
    """Resize the annotations and the recorded shapes of a sample as its batch of images was resized.

    Boxes and keypoints are scaled by the exact factors of the batch. Masks and label maps need not be padded to the
    size of the batch; their own (h, w) is scaled by the same factors and rounded down to whole pixels.

    Args:
        sample: Changed: ``gt_instances``, ``ignored_instances``, ``proposals``, ``gt_sem_seg``, ``img_shape``,
            ``pad_shape`` and ``batch_input_shape``.
        warp: A resize of the padded batch, from its old (h, w) to the new one.
    """
    shapes = {name: _resized(sample.get(name), warp) for name in _SHAPES if name in sample}
    sample.set_metainfo(dict(shapes, batch_input_shape=warp.size))
    for name in ('gt_instances', 'ignored_instances', 'proposals'):
        if name in sample:
            _resize_instances(sample.get(name), warp)
    if 'gt_sem_seg' in sample:
        maps = sample.gt_sem_seg
        sample.gt_sem_seg = PixelData(metainfo=maps.metainfo, sem_seg=_resize_label_maps(maps.sem_seg, warp))


def _resized(size: Size, warp: Warp) -> Size:
    """The (h, w) that ``size`` is scaled to, rounded down: rounded up it could reach beyond the new batch."""
    height, width = (side * new // old for side, new, old in zip(size, warp.size, warp.source))
    return max(height, 1), max(width, 1)


def _resize_instances(instances: InstanceData, warp: Warp) -> None:
    if 'bboxes' in instances:
        boxes = instances.bboxes
        instances.bboxes = warp.boxes(boxes) if isinstance(boxes, BaseBoxes) else project_boxes(boxes, warp.matrix)
    if 'masks' in instances:
        instances.masks = _resize_masks(instances.masks, warp)
    for name in ('keypoints', 'points'):
        if name in instances:
            points = instances[name]
            scale = points.new_tensor(warp.scale)
            instances.set_field(torch.cat([points[..., :2] * scale, points[..., 2:]], dim=-1), name)


def _resize_masks(masks: BaseInstanceMasks | Tensor, warp: Warp) -> BaseInstanceMasks | Tensor:
    if isinstance(masks, Tensor):
        return _resize_label_maps(masks, warp)
    return masks.warp(Warp.resize(masks.size, _resized(masks.size, warp)))


def _resize_label_maps(maps: Tensor, warp: Warp) -> Tensor:
    """Maps (n, h, w) of whole numbers, each new pixel taking the value of the nearest old one, as `Warp.label_map`."""
    size = _resized(maps.shape[-2:], warp)
    as_floats = maps[None].to(torch.float32)  # interpolate refuses integers; float32 is exact up to 2^24
    return torch.nn.functional.interpolate(as_floats, size=size, mode='nearest-exact')[0].to(maps.dtype)
