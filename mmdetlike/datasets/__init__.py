"""Datasets, samplers and transforms: from files, or pictures drawn on the fly, to the samples that a detector takes."""

from . import transforms
from .base import BaseDetDataset
from .coco import CocoDataset
from .coco_panoptic import CocoPanopticDataset
from .errors import DataError, ImageError
from .multi_source import GroupMultiSourceSampler, MultiSourceSampler
from .samplers import AspectRatioBatchSampler, DefaultSampler, InfiniteSampler
from .seeding import SeededIndex, seeded
from .shapes import LoadShapesImage, ShapesDataset
from .video import BaseVideoDataset
from .voc import VOCDataset, XMLDataset
from .wrappers import ClassBalancedDataset, ConcatDataset, MultiImageMixDataset, RepeatDataset

__all__ = [
    'AspectRatioBatchSampler',
    'BaseDetDataset',
    'BaseVideoDataset',
    'ClassBalancedDataset',
    'CocoDataset',
    'CocoPanopticDataset',
    'ConcatDataset',
    'DataError',
    'DefaultSampler',
    'GroupMultiSourceSampler',
    'ImageError',
    'InfiniteSampler',
    'LoadShapesImage',
    'MultiImageMixDataset',
    'MultiSourceSampler',
    'RepeatDataset',
    'SeededIndex',
    'ShapesDataset',
    'VOCDataset',
    'XMLDataset',
    'seeded',
    'transforms',
]
