"""Instance masks, as bitmaps or polygons, and the geometry that they carry."""

from mmdetlike.structures.mask.base_masks import BaseInstanceMasks
from mmdetlike.structures.mask.bitmap_masks import BitmapMasks
from mmdetlike.structures.mask.polygon import mask_to_bitmap, polygon_area, polygons_to_bitmap, rle_to_bitmap
from mmdetlike.structures.mask.polygon_masks import PolygonMasks
from mmdetlike.structures.mask.roi_masks import ROIMasks
from mmdetlike.structures.mask.run_lengths import run_lengths
from mmdetlike.structures.mask.segmentation import (
    Segmentation,
    encode_segmentation,
    read_runs,
    read_segmentation,
    read_segmentations,
)

__all__ = [
    'BaseInstanceMasks',
    'BitmapMasks',
    'PolygonMasks',
    'ROIMasks',
    'Segmentation',
    'encode_segmentation',
    'mask_to_bitmap',
    'polygon_area',
    'polygons_to_bitmap',
    'read_runs',
    'read_segmentation',
    'read_segmentations',
    'rle_to_bitmap',
    'run_lengths',
]
