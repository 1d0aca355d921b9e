"""The fields of a sample: how each follows a warp of the image, and which have an entry for each instance."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmdetlike.structures.bbox import BaseBoxes, HorizontalBoxes, geometry
from mmdetlike.structures.mask import polygons_to_bitmap
from mmdetlike.structures.warp import Fill, Warp


@dataclass(frozen=True)
class Edge:
    """How a warp treats the edge of the new image: what fills new pixels, and whether boxes are clipped.

    Args:
        img: What fills new pixels of the image, one number or one a channel.
        seg: What fills new pixels of the label map.
        masks: What fills new pixels of bitmaps, 0 or 1.
        clip: Whether boxes are cut to the new image, and keypoints outside count as absent.
    """

    img: Fill = 0
    seg: float = 255
    masks: int = 0
    clip: bool = False


def _image(img: np.ndarray, warp: Warp, edge: Edge, results: dict) -> np.ndarray:
    return warp.image(img, edge.img)


def _label_map(seg: np.ndarray, warp: Warp, edge: Edge, results: dict) -> np.ndarray:
    return warp.label_map(seg, edge.seg)


def _masks(masks, warp: Warp, edge: Edge, results: dict):
    return masks.warp(warp, edge.masks)


def _boxes(boxes, warp: Warp, edge: Edge, results: dict) -> BaseBoxes:
    """Warped boxes, not clipped yet: whether one is dropped depends on how far it lies outside."""
    return warp.boxes(boxes if isinstance(boxes, BaseBoxes) else HorizontalBoxes(boxes))


def _keypoints(keypoints: np.ndarray, warp: Warp, edge: Edge, results: dict) -> np.ndarray:
    """Warped keypoints; under a warp that mirrors, those of left and right are swapped by ``flip_indices``."""
    keypoints = keypoints.copy()
    keypoints[..., :2] = warp.points(keypoints[..., :2])
    height, width = warp.size
    x = keypoints[..., 0]
    y = keypoints[..., 1]
    outside = (x < 0) | (y < 0) | (x > width) | (y > height)
    keypoints[(keypoints[..., 2] == 0) | (outside & edge.clip)] = 0
    flip_indices = results.get('flip_indices')
    # a negative determinant: mirrored, so that a left hand looks like a right one
    if flip_indices is not None and np.linalg.det(warp.matrix[:2, :2]) < 0:
        keypoints = keypoints[:, list(flip_indices)]
    return keypoints


def _points(points: np.ndarray, warp: Warp, edge: Edge, results: dict) -> np.ndarray:
    """Warped points with a label each; one that falls outside has no label (-1) any longer."""
    moved = points.copy()
    moved[..., :2] = warp.points(points[..., :2])
    height, width = warp.size
    outside = (moved[..., :2] < 0).any(-1) | (moved[..., 0] > width) | (moved[..., 1] > height)
    moved[outside & edge.clip] = -1
    return moved


@dataclass(frozen=True)
class FieldSpec:
    """One kind of data in a sample.

    Args:
        key: Where it is in the sample while it goes through a pipeline.
        name: What `PackDetInputs` calls it in ``gt_instances``; None if it isn't packed there.
        warp: (values, warp, edge, sample) -> values that followed the image; None if its geometry doesn't matter.
        per_instance: Whether there is one entry for each annotated instance.
        source: What puts it into the sample, as messages say it.
    """

    key: str
    name: str | None = None
    warp: Callable | None = None
    per_instance: bool = False
    source: str = ''


# A new kind of data is added here, and nowhere else.
FIELDS = (
    FieldSpec('img', warp=_image, source='LoadImageFromFile'),
    FieldSpec('gt_seg_map', warp=_label_map, source='LoadAnnotations(with_seg=True)'),
    FieldSpec('gt_bboxes', 'bboxes', _boxes, True, 'LoadAnnotations(with_bbox=True)'),
    FieldSpec('gt_bboxes_labels', 'labels', None, True, 'LoadAnnotations(with_label=True)'),
    FieldSpec('gt_ignore_flags', None, None, True, 'LoadAnnotations(with_bbox=True)'),
    FieldSpec('proposals', warp=_boxes, source='proposal_file of the dataset'),
    FieldSpec('gt_masks', 'masks', _masks, True, 'LoadAnnotations(with_mask=True)'),
    FieldSpec('gt_keypoints', 'keypoints', _keypoints, True, 'LoadAnnotations(with_keypoints=True)'),
    FieldSpec('gt_points', 'points', _points, True, 'LoadMaskPoints'),
    FieldSpec('gt_instances_ids', 'instances_ids', None, True),
)
GEOMETRIC_FIELDS: dict[str, Callable] = {field.key: field.warp for field in FIELDS if field.warp is not None}
INSTANCE_FIELDS = tuple(field.key for field in FIELDS if field.per_instance)
PACKED_NAMES: dict[str, str] = {field.key: field.name for field in FIELDS if field.name is not None}
# What steps may need and where it comes from; besides the fields, what datasets supply.
SOURCES: dict[str, str] = {
    **{field.key: field.source for field in FIELDS if field.source},
    'img_path': 'the dataset',
    'seg_map_path': 'data_prefix=dict(seg=...) of the dataset',
    'segments_info': 'CocoPanopticDataset',
}
PROPOSAL_FIELDS = ('proposals', 'proposals_scores')


def select_instances(results: dict, keep: np.ndarray, fields: tuple[str, ...] = INSTANCE_FIELDS) -> None:
    """Keep the instances for which ``keep`` (n,) bool is set, in each of ``fields`` that is present."""
    if not keep.all():
        results.update({field: results[field][keep] for field in fields if field in results})


def boxes_from_masks(results: dict) -> None:
    """Put boxes around the masks of a sample, in place of those that it has, and drop instances with an empty mask."""
    results['gt_bboxes'] = type(results['gt_bboxes']).from_instance_masks(results['gt_masks'])
    select_instances(results, (results['gt_bboxes'].areas > 0).numpy())


def turned_box_pixels(boxes: BaseBoxes, size: tuple[int, int]) -> np.ndarray:
    """Masks (n, h, w) uint8 of the pixels that each rotated box covers in an image of ``size`` (h, w)."""
    polygons = geometry.corners(boxes.tensor).flatten(-2).numpy()
    bitmaps = [polygons_to_bitmap([polygon], *size) for polygon in polygons]
    return np.array(bitmaps, dtype=np.uint8).reshape(-1, *size)


def apply_warp(results: dict, warp: Warp, edge: Edge, keeps: Callable[[BaseBoxes, Warp], np.ndarray | None]) -> None:
    """Apply ``warp`` to every field of a sample that has a geometry.

    Args:
        results: The sample; changed. ``img_shape`` and ``homography_matrix`` (3, 3), from the original to the present
            image, are kept up to date.
        warp: From the present to the new image.
        edge: What happens at the edge of the new image.
        keeps: Given warped boxes, which may reach outside, tells which (n,) bool stay; None for all.
    """
    for field, move in GEOMETRIC_FIELDS.items():
        if results.get(field) is not None:
            results[field] = move(results[field], warp, edge, results)
    for boxes, fields in (('gt_bboxes', INSTANCE_FIELDS), ('proposals', PROPOSAL_FIELDS)):
        if results.get(boxes) is not None:
            _treat_edge(results, boxes, fields, warp, edge, keeps)
    if 'warps' in results:  # see RecordWarps
        results['warps'] = results['warps'] + [warp]
    results['img_shape'] = warp.size
    results['homography_matrix'] = warp.matrix @ results.get('homography_matrix', np.eye(3))


def _treat_edge(results: dict, name: str, fields: tuple[str, ...], warp: Warp, edge: Edge, keeps: Callable) -> None:
    keep = keeps(results[name], warp)
    if keep is not None:
        select_instances(results, np.asarray(keep), fields)
    if edge.clip:
        results[name].clip_(warp.size)
