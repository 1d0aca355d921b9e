"""Transforms that load a sample's annotations, and those that leave objects or samples out."""

import copy

import numpy as np
import torch

from mmdetlike.datasets.errors import DataError, ImageError, warn_once
from mmdetlike.datasets.transforms.base import BaseTransform, image_size
from mmdetlike.datasets.transforms.image_io import LARGEST_VALUE, check_decoder, labels_of_values, read_label_map
from mmdetlike.datasets.transforms.instances import select_instances
from mmdetlike.datasets.transforms.recorded_size import fit_label_map
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.bbox import BaseBoxes, HorizontalBoxes, box_types, convert_box_type, geometry, get_box_type
from mmdetlike.structures.mask import (
    BitmapMasks,
    PolygonMasks,
    polygons_to_bitmap,
    read_segmentation,
    rle_to_bitmap,
)


@TRANSFORMS.register_module()
class LoadAnnotations(BaseTransform):
    """Turn ``instances``, a list of dicts, into arrays.

    An instance has ``bbox``, which is [x1, y1, x2, y2], a rotated box [x, y, width, height, angle] or the corners of a
    quadrilateral [x1, y1, ..., x4, y4], ``bbox_label``, ``ignore_flag``, ``mask`` (a list of flat polygons or
    an RLE dict) and ``keypoints`` [[x, y, visibility], ...], as far as they are asked for. An instance without a mask
    gets an empty one and is ignored; so does, with a warning, one whose mask cannot be read or is an RLE although
    polygons are wanted. (The datasets check masks when they load a file, and count there what they leave out.)

    Sets ``gt_bboxes`` (n, 4, 5 or 8), ``gt_ignore_flags`` (n,) bool, ``gt_bboxes_labels`` (n,) int64, ``gt_masks``,
    ``gt_keypoints`` (n, k, 3) float32 and ``gt_seg_map`` (h, w) uint8 from ``seg_map_path``.

    Args:
        with_bbox: Load boxes.
        with_label: Load labels.
        with_mask: Load masks.
        with_seg: Load the semantic label map.
        with_keypoints: Load keypoints.
        keypoint_offset: Added to their x and y. COCO counts pixels: the center of the first one is (0, 0). Transforms,
            which mirror x to width - x, and heatmaps take it for (0.5, 0.5): 0.5 here, and in ``CocoMetric``, agree.
        poly2mask: Masks become `BitmapMasks`, not `PolygonMasks`.
        box_type: The class of ``gt_bboxes``, by the name that it is registered as: 'hbox' (or None) for axis-aligned
            boxes, 'rbox' for rotated ones, which may be annotated in either way, 'qbox' for quadrilaterals.
        reduce_zero_label: In the label map, 0 means background: it becomes ``ignore_index``, the others drop by 1.
            A dataset may say the label of each value itself (``label_map`` of ``BaseSegDataset``).
        ignore_index: The label of pixels that don't count.
        imdecode_backend: 'cv2' or 'pillow', for the label map.
        backend_args: Where files are, as ``mmengine.fileio`` takes it.
    """

    role = 'annotations'

    def __init__(
        self,
        with_bbox: bool = True,
        with_label: bool = True,
        with_mask: bool = False,
        with_seg: bool = False,
        with_keypoints: bool = False,
        poly2mask: bool = True,
        box_type: str | None = 'hbox',
        reduce_zero_label: bool = False,
        ignore_index: int = 255,
        imdecode_backend: str = 'cv2',
        backend_args: dict | None = None,
        keypoint_offset: float = 0.0,
    ) -> None:
        check_decoder('unchanged', imdecode_backend)
        self.keypoint_offset = keypoint_offset
        self.with_bbox = with_bbox
        self.with_label = with_label
        self.with_mask = with_mask
        self.with_seg = with_seg
        self.with_keypoints = with_keypoints
        self.poly2mask = poly2mask
        self.box_type = box_type
        self.reduce_zero_label = reduce_zero_label
        self.ignore_index = ignore_index
        self.imdecode_backend = imdecode_backend
        self.backend_args = copy.copy(backend_args)
        self.needs = ('seg_map_path',) if with_seg else ()
        self._box_class = HorizontalBoxes if box_type is None else get_box_type(box_type)[1]

    def transform(self, results: dict) -> dict:
        instances = results.get('instances', [])
        if self.with_bbox:
            results['gt_bboxes'] = read_boxes(instances, self._box_class, results.get('img_path'))
            flags = [bool(instance.get('ignore_flag', 0)) for instance in instances]
            results['gt_ignore_flags'] = np.array(flags, dtype=bool)
        if self.with_label:
            labels = [instance['bbox_label'] for instance in instances]
            results['gt_bboxes_labels'] = np.array(labels, dtype=np.int64)
        if self.with_mask:
            self.load_masks(results, instances)
        if self.with_keypoints:
            points = _keypoints(instances, len(results.get('flip_indices') or ()))
            # of a keypoint that isn't labeled all three numbers are 0
            points[..., :2] += self.keypoint_offset * (points[..., 2:] > 0)
            results['gt_keypoints'] = points
        if self.with_seg:
            self.load_seg_map(results)
        return results

    def load_masks(self, results: dict, instances: list[dict]) -> None:
        # Annotated masks have the size of the picture as it was read; test pipelines may have resized it since.
        height, width = results.get('ori_shape') or image_size(results)
        masks = [self._mask(instance, (height, width), results.get('img_path')) for instance in instances]
        if 'gt_ignore_flags' in results:
            results['gt_ignore_flags'] |= np.array([mask is None for mask in masks], dtype=bool)
        if self.poly2mask:
            bitmaps = [_bitmap(mask, height, width) for mask in masks]
            results['gt_masks'] = BitmapMasks(bitmaps, height, width)
        else:
            results['gt_masks'] = PolygonMasks([mask or [] for mask in masks], height, width)

    def _mask(self, instance: dict, size: tuple[int, int], img_path: str | None) -> list | dict | None:
        """The mask of ``instance`` as polygons or RLE; None if it has none that can be used."""
        given = instance.get('mask')
        if isinstance(given, dict) and isinstance(given.get('size'), list) and given['size'] != list(size):
            raise ImageError(str(img_path), f'its RLE mask is of (h, w) = {given["size"]}, the picture of {list(size)}')
        mask, problem = read_segmentation(given, *size)
        if problem:
            warn_once(f'{img_path}: an object is ignored for its mask: {problem}.', key=problem)
        if isinstance(mask, dict) and not self.poly2mask:
            warn_once(f'{img_path}: an object is ignored, as its mask is an RLE: set poly2mask=True.', key='poly2mask')
            return None
        return mask

    def load_seg_map(self, results: dict) -> None:
        path = results['seg_map_path']
        label_map = results.get('label_map')
        if label_map is not None and self.reduce_zero_label:
            raise ConfigError(f'{path}: its dataset has a label_map, so that reduce_zero_label has to be False.')
        largest = 255 if label_map is None else LARGEST_VALUE
        values = read_label_map(path, self.imdecode_backend, self.backend_args, largest)
        labels = labels_of_values(values, label_map, self.reduce_zero_label, self.ignore_index)
        seg = fit_label_map(labels, results, path)
        results['gt_seg_map'] = seg
        results['ignore_index'] = self.ignore_index
        results['reduce_zero_label'] = self.reduce_zero_label


def read_boxes(instances: list[dict], box_class: type[BaseBoxes], img_path: str | None) -> BaseBoxes:
    """The ``bbox`` of each instance as boxes of ``box_class``.

    Raises:
        DataError: The boxes of an image are of several kinds, or turned ones are to be axis-aligned.
    """
    boxes = [instance['bbox'] for instance in instances]
    counts = sorted({len(box) for box in boxes})
    if not counts:
        return box_class(np.zeros((0, box_class.box_dim), dtype=np.float32), clone=False)
    if len(counts) > 1:
        raise DataError(
            f'{img_path}: its boxes have {" and ".join(map(str, counts))} numbers; all must be of one kind.'
        )
    array = np.array(boxes, dtype=np.float32)
    if counts[0] == box_class.box_dim:
        return box_class(array, clone=False)
    if counts[0] not in geometry.KINDS:
        raise DataError(f'{img_path}: a box has 4, 5 or 8 numbers, but {boxes[0]} has {counts[0]}.')
    if box_class is HorizontalBoxes:
        raise DataError(
            f'{img_path}: its boxes have {counts[0]} numbers ({geometry.KINDS[counts[0]]}), but LoadAnnotations reads '
            "axis-aligned ones of 4; set box_type='rbox', and for the boxes around them ConvertBoxType after it."
        )
    return box_class.from_plain(torch.from_numpy(array))


def _bitmap(mask: list | dict | None, height: int, width: int) -> np.ndarray:
    if isinstance(mask, dict):
        return rle_to_bitmap(mask)
    return polygons_to_bitmap(mask or [], height, width)


def _keypoints(instances: list[dict], count: int) -> np.ndarray:
    """(n, k, 3) float32; an instance without keypoints has zeros, the visibility of what is absent."""
    known = [np.array(i['keypoints'], np.float32).reshape(-1, 3) if 'keypoints' in i else None for i in instances]
    count = next((len(points) for points in known if points is not None), count)
    stacked = np.zeros((len(instances), count, 3), dtype=np.float32)
    for row, points in zip(stacked, known):
        if points is not None:
            row[:] = points
    return stacked


@TRANSFORMS.register_module()
class ConvertBoxType(BaseTransform):
    """Convert boxes to another kind: axis-aligned, rotated or quadrilaterals.

    What the new kind cannot express becomes the smallest box of that kind around it.

    Args:
        box_type_mapping: For each key of the sample, such as ``gt_bboxes``, the kind that its boxes become: 'hbox',
            'rbox' or 'qbox'. A key that a sample lacks is left out.

    Raises:
        ConfigError: A kind is unknown.
    """

    def __init__(self, box_type_mapping: dict[str, str]) -> None:
        for key, box_type in box_type_mapping.items():
            if box_type not in box_types:
                known = ', '.join(sorted(box_types))
                raise ConfigError(f'box_type_mapping[{key!r}]={box_type!r} is no kind of boxes; there are {known}.')
        self.box_type_mapping = dict(box_type_mapping)

    def transform(self, results: dict) -> dict:
        for key, box_type in self.box_type_mapping.items():
            if results.get(key) is not None:
                results[key] = convert_box_type(results[key], dst_type=box_type)
        return results


@TRANSFORMS.register_module()
class LoadTrackAnnotations(LoadAnnotations):
    """`LoadAnnotations` that also sets ``gt_instances_ids`` (n,) int64, an object's id in all frames of its video.

    An instance without ``instance_id`` has -1 there.
    """

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        ids = [instance.get('instance_id', -1) for instance in results.get('instances', [])]
        results['gt_instances_ids'] = np.array(ids, dtype=np.int64)
        return results


@TRANSFORMS.register_module()
class LoadEmptyAnnotations(BaseTransform):
    """Annotations of a picture of which nothing is known: no objects, and a label map where no pixel counts.

    Args:
        with_bbox: Set ``gt_bboxes`` (0, 4) and ``gt_ignore_flags`` (0,).
        with_label: Set ``gt_bboxes_labels`` (0,).
        with_mask: Set ``gt_masks`` of no object.
        with_seg: Set ``gt_seg_map`` (h, w), all ``seg_ignore_label``.
        seg_ignore_label: The label of pixels that don't count.
    """

    role = 'annotations'

    def __init__(
        self,
        with_bbox: bool = True,
        with_label: bool = True,
        with_mask: bool = False,
        with_seg: bool = False,
        seg_ignore_label: int = 255,
    ) -> None:
        self.with_bbox = with_bbox
        self.with_label = with_label
        self.with_mask = with_mask
        self.with_seg = with_seg
        self.seg_ignore_label = seg_ignore_label

    def transform(self, results: dict) -> dict:
        if self.with_bbox:
            results['gt_bboxes'] = HorizontalBoxes(np.zeros((0, 4), dtype=np.float32))
            results['gt_ignore_flags'] = np.zeros(0, dtype=bool)
        if self.with_label:
            results['gt_bboxes_labels'] = np.zeros(0, dtype=np.int64)
        if self.with_mask:
            results['gt_masks'] = BitmapMasks([], *image_size(results))
        if self.with_seg:
            results['gt_seg_map'] = np.full(image_size(results), self.seg_ignore_label, dtype=np.uint8)
            results['ignore_index'] = self.seg_ignore_label
        return results


@TRANSFORMS.register_module()
class LoadProposals(BaseTransform):
    """Turn ``proposals``, a dict of ``bboxes`` (n, 4) and maybe ``scores`` (n,), into boxes and ``proposals_scores``.

    Args:
        num_max_proposals: Keep the first so many; all if None.
    """

    needs = ('proposals',)

    def __init__(self, num_max_proposals: int | None = None) -> None:
        self.num_max_proposals = num_max_proposals

    def transform(self, results: dict) -> dict:
        proposals = results['proposals']
        boxes = np.asarray(proposals['bboxes'], dtype=np.float32).reshape(-1, 4)
        scores = np.asarray(proposals.get('scores', np.zeros(len(boxes))), dtype=np.float32)
        if len(scores) != len(boxes):
            raise ValueError(f'There are {len(boxes)} proposals, but {len(scores)} scores.')
        kept = slice(self.num_max_proposals)
        results['proposals'] = HorizontalBoxes(torch.from_numpy(boxes[kept].copy()), clone=False)
        results['proposals_scores'] = scores[kept]
        return results


@TRANSFORMS.register_module()
class FilterAnnotations(BaseTransform):
    """Drop instances that are too small.

    Args:
        min_gt_bbox_wh: (w, h) in pixels, both of which a box must exceed.
        min_gt_mask_area: Least area of a mask, in square pixels.
        by_box: Look at boxes.
        by_mask: Look at masks.
        keep_empty: Give the sample up (return None) if no instance is left; otherwise it goes on without any.
    """

    keeps_images = True

    def __init__(
        self,
        min_gt_bbox_wh: tuple[float, float] = (1, 1),
        min_gt_mask_area: float = 1,
        by_box: bool = True,
        by_mask: bool = False,
        keep_empty: bool = True,
    ) -> None:
        if not (by_box or by_mask):
            raise ValueError('FilterAnnotations needs by_box=True or by_mask=True.')
        self.min_gt_bbox_wh = min_gt_bbox_wh
        self.min_gt_mask_area = min_gt_mask_area
        self.by_box = by_box
        self.by_mask = by_mask
        self.keep_empty = keep_empty
        self.needs = ('gt_bboxes', 'gt_masks') if by_mask else ('gt_bboxes',)

    def transform(self, results: dict) -> dict | None:
        boxes = results['gt_bboxes']
        if len(boxes) == 0:
            return results
        keep = np.ones(len(boxes), dtype=bool)
        if self.by_box:
            min_w, min_h = self.min_gt_bbox_wh
            keep &= ((boxes.widths > min_w) & (boxes.heights > min_h)).numpy()
        if self.by_mask:
            keep &= results['gt_masks'].areas >= self.min_gt_mask_area
        if not keep.any() and self.keep_empty:
            return None
        select_instances(results, keep)
        return results
