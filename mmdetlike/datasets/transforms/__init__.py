"""The steps of data pipelines."""

from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.transforms.affine import RandomAffine, RandomShift
from mmdetlike.datasets.transforms.base import BaseTransform
from mmdetlike.datasets.transforms.center_crop_pad import RandomCenterCropPad
from mmdetlike.datasets.transforms.clips import PackTrackInputs, TransformBroadcaster, UniformRefFrameSample
from mmdetlike.datasets.transforms.colour import PhotoMetricDistortion, YOLOXHSVRandomAug
from mmdetlike.datasets.transforms.crop import MinIoURandomCrop, RandomCrop
from mmdetlike.datasets.transforms.enhance import (
    AutoContrast,
    Brightness,
    Color,
    ColorTransform,
    Contrast,
    Equalize,
    Invert,
    Posterize,
    Sharpness,
    Solarize,
    SolarizeAdd,
)
from mmdetlike.datasets.transforms.erasing import RandomErasing
from mmdetlike.datasets.transforms.flip import RandomFlip
from mmdetlike.datasets.transforms.formatting import PackDetInputs, image_to_tensor
from mmdetlike.datasets.transforms.geometric import GeometricTransform
from mmdetlike.datasets.transforms.image_io import decode_image, read_image
from mmdetlike.datasets.transforms.instances import Edge, apply_warp, select_instances
from mmdetlike.datasets.transforms.loading import (
    ConvertBoxType,
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
from mmdetlike.datasets.transforms.slant import GeomTransform, Rotate, ShearX, ShearY, TranslateX, TranslateY
from mmdetlike.datasets.transforms.wrappers import (
    MultiBranch,
    ProposalBroadcaster,
    RandAugment,
    RandomApply,
    RandomChoice,
    RandomOrder,
    TestTimeAug,
)

__all__ = [
    'AutoContrast',
    'BaseTransform',
    'Brightness',
    'CachedMixUp',
    'CachedMosaic',
    'Color',
    'ColorTransform',
    'Contrast',
    'ConvertBoxType',
    'CopyPaste',
    'Edge',
    'Equalize',
    'Expand',
    'FilterAnnotations',
    'FixShapeResize',
    'GeomTransform',
    'GeometricTransform',
    'ImageError',
    'Invert',
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
    'MultiBranch',
    'PackDetInputs',
    'PackTrackInputs',
    'Pad',
    'PhotoMetricDistortion',
    'Posterize',
    'ProposalBroadcaster',
    'RandAugment',
    'RandomAffine',
    'RandomApply',
    'RandomCenterCropPad',
    'RandomChoice',
    'RandomChoiceResize',
    'RandomCrop',
    'RandomErasing',
    'RandomFlip',
    'RandomOrder',
    'RandomResize',
    'RandomShift',
    'Resize',
    'Rotate',
    'SegRescale',
    'Sharpness',
    'ShearX',
    'ShearY',
    'Solarize',
    'SolarizeAdd',
    'TestTimeAug',
    'TransformBroadcaster',
    'TranslateX',
    'TranslateY',
    'UniformRefFrameSample',
    'YOLOXHSVRandomAug',
    'apply_warp',
    'decode_image',
    'image_to_tensor',
    'read_image',
    'select_instances',
]
