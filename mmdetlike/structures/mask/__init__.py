"""Instance masks, as bitmaps or polygons, and the geometry that they carry."""

from mmdetlike.structures.mask.base_masks import BaseInstanceMasks
from mmdetlike.structures.mask.bitmap_masks import BitmapMasks
from mmdetlike.structures.mask.polygon import polygon_area, polygons_to_bitmap, rle_to_bitmap
from mmdetlike.structures.mask.polygon_masks import PolygonMasks

__all__ = ['BaseInstanceMasks', 'BitmapMasks', 'PolygonMasks', 'polygon_area', 'polygons_to_bitmap', 'rle_to_bitmap']
