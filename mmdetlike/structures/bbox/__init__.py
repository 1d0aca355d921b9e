"""Boxes and the geometry that they carry."""

from mmdetlike.structures.bbox.base_boxes import BaseBoxes
from mmdetlike.structures.bbox.box_mode import BoxMode
from mmdetlike.structures.bbox.box_type import (
    box_types,
    cat_boxes,
    convert_box_type,
    get_box_tensor,
    get_box_type,
    get_box_wh,
    register_box,
    scale_boxes,
    stack_boxes,
)
from mmdetlike.structures.bbox.horizontal_boxes import HorizontalBoxes
from mmdetlike.structures.bbox.overlaps import bbox_overlaps, pairwise_ioa
from mmdetlike.structures.bbox.quadri_boxes import QuadriBoxes
from mmdetlike.structures.bbox.rotated_boxes import RotatedBoxes
from mmdetlike.structures.bbox.transforms import (
    bbox2distance,
    bbox2roi,
    bbox_cxcywh_to_xyxy,
    bbox_flip,
    bbox_mapping,
    bbox_mapping_back,
    bbox_xyxy_to_cxcywh,
    distance2bbox,
    roi2bbox,
)

__all__ = [
    'BaseBoxes',
    'BoxMode',
    'HorizontalBoxes',
    'QuadriBoxes',
    'RotatedBoxes',
    'bbox2distance',
    'bbox2roi',
    'bbox_cxcywh_to_xyxy',
    'bbox_flip',
    'bbox_mapping',
    'bbox_mapping_back',
    'bbox_overlaps',
    'bbox_xyxy_to_cxcywh',
    'box_types',
    'cat_boxes',
    'convert_box_type',
    'distance2bbox',
    'get_box_tensor',
    'get_box_type',
    'get_box_wh',
    'pairwise_ioa',
    'register_box',
    'roi2bbox',
    'scale_boxes',
    'stack_boxes',
]
