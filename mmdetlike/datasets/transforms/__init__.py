"""The steps of data pipelines."""

from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.transforms.affine import RandomAffine, RandomShift
from mmdetlike.datasets.transforms.base import BaseTransform
from mmdetlike.datasets.transforms.center_crop_pad import RandomCenterCropPad
from mmdetlike.datasets.transforms.clips import PackTrackInputs, TransformBroadcaster, UniformRefFrameSample
from mmdetlike.datasets.transforms.colour import PhotoMetricDistortion, YOLOXHSVRandomAug
from mmdetlike.datasets.transforms.crop import MinIoURandomCrop, RandomCrop
from mmdetlike.datasets.transforms.flip import RandomFlip
from mmdetlike.datasets.transforms.formatting import PackDetInputs, image_to_tensor
from mmdetlike.datasets.transforms.geometric import GeometricTransform
from mmdetlike.datasets.transforms.image_io import decode_image, read_image
from mmdetlike.datasets.transforms.instances import Edge, apply_warp, select_instances
from mmdetlike.datasets.transforms.loading import (
    FilterAnnotations,
    LoadAnnotations,
    LoadEmptyAnnotations,
    LoadImageFromFile,
    LoadImageFromNDArray,
    LoadProposals,
    LoadTrackAnnotations,
)
from mmdetlike.datasets.transforms.mix import CachedMixUp, CachedMosaic, CopyPaste, MixUp, Mosaic
from mmdetlike.datasets.transforms.pad import Expand, Pad
from mmdetlike.datasets.transforms.panoptic import LoadPanopticAnnotations
from mmdetlike.datasets.transforms.resize import FixShapeResize, RandomChoiceResize, RandomResize, Resize, SegRescale
from mmdetlike.datasets.transforms.wrappers import ProposalBroadcaster, RandomApply, RandomChoice, TestTimeAug

__all__ = [
    'BaseTransform',
    'CachedMixUp',
    'CachedMosaic',
    'CopyPaste',
    'Edge',
    'Expand',
    'FilterAnnotations',
    'FixShapeResize',
    'GeometricTransform',
    'ImageError',
    'LoadAnnotations',
    'LoadEmptyAnnotations',
    'LoadImageFromFile',
    'LoadImageFromNDArray',
    'LoadPanopticAnnotations',
    'LoadProposals',
    'LoadTrackAnnotations',
    'MinIoURandomCrop',
    'MixUp',
    'Mosaic',
    'PackDetInputs',
    'PackTrackInputs',
    'Pad',
    'PhotoMetricDistortion',
    'ProposalBroadcaster',
    'RandomAffine',
    'RandomApply',
    'RandomCenterCropPad',
    'RandomChoice',
    'RandomChoiceResize',
    'RandomCrop',
    'RandomFlip',
    'RandomResize',
    'RandomShift',
    'Resize',
    'SegRescale',
    'TestTimeAug',
    'TransformBroadcaster',
    'UniformRefFrameSample',
    'YOLOXHSVRandomAug',
    'apply_warp',
    'decode_image',
    'image_to_tensor',
    'read_image',
    'select_instances',
]
