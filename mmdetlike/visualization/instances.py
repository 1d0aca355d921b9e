"""The objects to draw, as plain numpy arrays, whatever kind of sample they came from."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mmdetlike.structures.bbox import geometry
from mmdetlike.structures.mask import rle_to_bitmap
from mmdetlike.structures.panoptic import INSTANCE_OFFSET


@dataclass(frozen=True)
class Instances:
    """Objects of one image.

    Args:
        boxes: Boxes (n, 4), xyxy, or rotated ones (n, 5), x, y, width, height in pixels and angle in radians.
        labels: Class indices (n,).
        scores: Confidences (n,), None for ground truth.
        masks: Masks (n, h, w), bool, of the image's size, or a list of n such.
        keypoints: Keypoints (n, k, 3): x, y and visibility or score; those not above 0 are not drawn.
        ids: Numbers (n,) that objects keep from frame to frame, and with them their colors.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None
    masks: np.ndarray | list[np.ndarray] | None = None
    keypoints: np.ndarray | None = None
    ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.boxes.ndim != 2 or self.boxes.shape[1] not in (geometry.HORIZONTAL, geometry.ROTATED):
            raise ValueError(f'boxes to draw must have the shape (n, 4) or (n, 5), got {self.boxes.shape}')
        for name in ('labels', 'scores', 'masks', 'keypoints', 'ids'):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.boxes):
                raise ValueError(f'there are {len(self.boxes)} boxes to draw but {len(value)} {name}')

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: np.ndarray) -> 'Instances':
        columns = (self.boxes, self.labels, self.scores, self.keypoints, self.ids)
        boxes, labels, scores, keypoints, ids = (None if column is None else column[index] for column in columns)
        masks = self.masks
        if masks is not None:
            # views instead of copies: a hundred masks of a large image are 100 MB
            masks = [masks[i] for i in np.arange(len(self))[index]]
        return Instances(boxes, labels, scores, masks, keypoints, ids)

    def by_importance(self, score_thr: float = 0.0) -> 'Instances':
        """Return those that score ``score_thr`` or more (all when they have no scores), the most confident first.

        Among equals small boxes come first.
        """
        sizes = np.nan_to_num(geometry.sizes(torch.from_numpy(self.boxes)).numpy()).prod(1)
        scores = np.full(len(sizes), np.inf) if self.scores is None else self.scores
        order = np.lexsort([sizes, -scores])  # the last key is the first to sort by
        return self[order[scores[order] >= score_thr]]

    def with_area(self, least: float) -> 'Instances':
        """Return those whose masks have ``least`` pixels or more; all where there are no masks."""
        if self.masks is None or least <= 0:
            return self
        return self[np.flatnonzero([np.count_nonzero(mask) >= least for mask in self.masks])]

    def rescale(self, width: int, height: int, scale: tuple[float, float]) -> 'Instances':
        """Return the instances on an image that was resized to (``width``, ``height``) by ``scale`` (x, y)."""
        masks = self.masks
        keypoints = self.keypoints
        if masks is not None:
            masks = _resize_masks(masks, width, height)
        if keypoints is not None:
            keypoints = keypoints * np.array([*scale, 1.0])
        boxes = geometry.scale(torch.from_numpy(self.boxes), scale).numpy()
        return Instances(boxes, self.labels, self.scores, masks, keypoints, self.ids)


def to_instances(data: Any) -> Instances:
    """Turn an ``InstanceData``, a dict of arrays or an :class:`Instances` into :class:`Instances`.

    Args:
        data: Has ``bboxes`` and optionally ``labels``, ``scores``, ``masks``, ``keypoints`` (n, k, 2 or 3),
            ``keypoint_scores`` (n, k) and ``instances_ids`` (n,): tensors on any device, arrays, box structures (with
            ``.tensor``) or mask structures (with ``.to_ndarray()``); masks also as COCO's run-length encodings. Boxes
            that are missing are taken from the masks; nothing at all is no instances.

    Raises:
        ValueError: neither boxes nor masks are given, or their numbers or shapes do not match.
    """
    if isinstance(data, Instances):
        return data
    fields = {name: _to_numpy(data.get(name)) for name in ('bboxes', 'labels', 'scores')}
    boxes = fields['bboxes']
    masks = _bitmaps(data.get('masks'))
    if boxes is None:
        if masks is None and len(data.keys()):
            raise ValueError(f'instances to draw need bboxes or masks, got {sorted(data.keys())}')
        boxes = np.zeros((0, 4)) if masks is None else mask_extents(masks)
    boxes = _drawable(boxes.astype(np.float64))
    labels = np.zeros(len(boxes)) if fields['labels'] is None else fields['labels']
    keypoints = _to_keypoints(_to_numpy(data.get('keypoints')), _to_numpy(data.get('keypoint_scores')))
    ids = _to_numpy(data.get('instances_ids'))
    return Instances(boxes, labels.astype(np.int64), fields['scores'], masks, keypoints, ids)


def _drawable(boxes: np.ndarray) -> np.ndarray:
    """Boxes (n, 4 or 5); quadrilaterals as the rectangles around them."""
    if boxes.size == 0:
        return boxes.reshape(-1, geometry.HORIZONTAL)
    if boxes.shape[-1] == geometry.QUADRILATERAL:
        return geometry.to_rotated(torch.from_numpy(boxes)).numpy()
    return boxes


def upright(boxes: np.ndarray) -> np.ndarray:
    """The boxes (n, 4) xyxy around boxes (n, 4 or 5)."""
    return geometry.to_horizontal(torch.from_numpy(boxes)).numpy()


def panoptic_instances(segments: Any, num_classes: int) -> Instances:
    """The segments of a panoptic map as :class:`Instances` without boxes, to be drawn as masks.

    Args:
        segments: (h, w) or (1, h, w): class + ``INSTANCE_OFFSET`` * instance; other classes are no segments.
        num_classes: Number of classes of things and stuff.
    """
    ids = _to_numpy(segments)
    ids = ids.reshape(ids.shape[-2:])
    numbers = np.unique(ids)
    numbers = numbers[numbers % INSTANCE_OFFSET < num_classes]
    masks = ids == numbers[:, None, None]
    return Instances(np.zeros((len(numbers), 4)), (numbers % INSTANCE_OFFSET).astype(np.int64), masks=masks)


def mask_extents(masks: Iterable[np.ndarray]) -> np.ndarray:
    """Return the tight boxes (n, 4), xyxy, of ``masks``, each (h, w), bool; zeros for an empty mask."""
    import cv2

    rectangles = [cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8)) for mask in masks]
    x, y, width, height = np.array(rectangles, dtype=float).reshape(-1, 4).T
    return np.stack([x, y, x + width, y + height], 1)


def _to_numpy(value: Any) -> np.ndarray | None:
    if value is None:
        return None
    if hasattr(value, 'to_ndarray'):
        return value.to_ndarray()
    if hasattr(value, 'tensor'):
        value = value.tensor
    if hasattr(value, 'detach'):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()
    return np.asarray(value)


def _bitmaps(masks: Any) -> np.ndarray | list[np.ndarray] | None:
    """Masks, each (h, w), bool; run-length encodings are decoded."""
    if isinstance(masks, list) and masks and isinstance(masks[0], dict):
        return [rle_to_bitmap(mask).view(bool) for mask in masks]
    array = _to_numpy(masks)
    return None if array is None else array.astype(bool, copy=False)


def _to_keypoints(points: np.ndarray | None, scores: np.ndarray | None) -> np.ndarray | None:
    if points is None or points.shape[-1] == 3:
        return points
    visible = np.ones(points.shape[:-1]) if scores is None else scores
    return np.concatenate([points, visible[..., None]], -1)


def _resize_masks(masks: np.ndarray, width: int, height: int) -> np.ndarray:
    import cv2

    resized = np.zeros((len(masks), height, width), dtype=bool)
    for target, mask in zip(resized, masks):
        soft = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        target[:] = soft >= 0.5
    return resized
