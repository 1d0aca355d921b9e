"""The steps of data pipelines."""

from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.transforms.affine import RandomAffine, RandomShift
from mmdetlike.datasets.transforms.albu import Albu
from mmdetlike.datasets.transforms.base import BaseTransform
from mmdetlike.datasets.transforms.blend import RandomBrightness, RandomContrast, RandomLighting, RandomSaturation
from mmdetlike.datasets.transforms.center_crop_pad import RandomCenterCropPad
from mmdetlike.datasets.transforms.clips import PackTrackInputs, TransformBroadcaster, UniformRefFrameSample
from mmdetlike.datasets.transforms.color import PhotoMetricDistortion, YOLOXHSVRandomAug
from mmdetlike.datasets.transforms.corrupt import Corrupt
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
from mmdetlike.datasets.transforms.erasing import CutOut, RandomErasing
from mmdetlike.datasets.transforms.fixed_crop import CategoryAreaCrop, FixedSizeCrop
from mmdetlike.datasets.transforms.flip import RandomFlip
from mmdetlike.datasets.transforms.formatting import PackDetInputs, image_to_tensor
from mmdetlike.datasets.transforms.geometric import GeometricTransform
from mmdetlike.datasets.transforms.image_io import decode_image, read_image
from mmdetlike.datasets.transforms.instaboost import InstaBoost
from mmdetlike.datasets.transforms.instances import Edge, apply_warp, select_instances
from mmdetlike.datasets.transforms.load_image import LoadImageFromFile, LoadImageFromNDArray
from mmdetlike.datasets.transforms.loading import (
    ConvertBoxType,
    FilterAnnotations,
    LoadAnnotations,
    LoadEmptyAnnotations,
    LoadProposals,
    LoadTrackAnnotations,
)
from mmdetlike.datasets.transforms.mask_points import LoadMaskPoints
from mmdetlike.datasets.transforms.mix import CachedMixUp, CachedMosaic, CopyPaste, MixUp, Mosaic
from mmdetlike.datasets.transforms.more_loading import (
    InferencerLoader,
    LoadImageFromWebcam,
    LoadMultiChannelImageFromFiles,
)
from mmdetlike.datasets.transforms.pad import Expand, Pad
from mmdetlike.datasets.transforms.panoptic import LoadPanopticAnnotations
from mmdetlike.datasets.transforms.plain import (
    Compose,
    ImageToTensor,
    Normalize,
    RandomGrayscale,
    ToTensor,
    Transpose,
)
from mmdetlike.datasets.transforms.policies import AutoAugment, RandAugment
from mmdetlike.datasets.transforms.record_warps import RecordWarps
from mmdetlike.datasets.transforms.resize import FixShapeResize, RandomChoiceResize, RandomResize, Resize, SegRescale
from mmdetlike.datasets.transforms.resize_edges import CenterCrop, FixScaleResize, ResizeShortestEdge
from mmdetlike.datasets.transforms.slant import GeomTransform, Rotate, ShearX, ShearY, TranslateX, TranslateY
from mmdetlike.datasets.transforms.stuff import LoadStuffMap
from mmdetlike.datasets.transforms.tight_boxes import BoxesFromMasks
from mmdetlike.datasets.transforms.turn import RandomExtent, RandomRotation
from mmdetlike.datasets.transforms.wrappers import (
    MultiBranch,
    ProposalBroadcaster,
    RandomApply,
    RandomChoice,
    RandomOrder,
    TestTimeAug,
)

__all__ = [
    'Albu',
    'AutoAugment',
    'AutoContrast',
    'BaseTransform',
    'BoxesFromMasks',
    'Brightness',
    'CachedMixUp',
    'CachedMosaic',
    'CategoryAreaCrop',
    'CenterCrop',
    'Color',
    'ColorTransform',
    'Compose',
    'Contrast',
    'ConvertBoxType',
    'CopyPaste',
    'Corrupt',
    'CutOut',
    'Edge',
    'Equalize',
    'Expand',
    'FilterAnnotations',
    'FixScaleResize',
    'FixShapeResize',
    'FixedSizeCrop',
    'GeomTransform',
    'GeometricTransform',
    'ImageError',
    'ImageToTensor',
    'InferencerLoader',
    'InstaBoost',
    'Invert',
    'LoadAnnotations',
    'LoadEmptyAnnotations',
    'LoadImageFromFile',
    'LoadImageFromNDArray',
    'LoadImageFromWebcam',
    'LoadMaskPoints',
    'LoadMultiChannelImageFromFiles',
    'LoadPanopticAnnotations',
    'LoadProposals',
    'LoadStuffMap',
    'LoadTrackAnnotations',
    'MinIoURandomCrop',
    'MixUp',
    'Mosaic',
    'MultiBranch',
    'Normalize',
    'PackDetInputs',
    'PackTrackInputs',
    'Pad',
    'PhotoMetricDistortion',
    'Posterize',
    'ProposalBroadcaster',
    'RandAugment',
    'RandomAffine',
    'RandomApply',
    'RandomBrightness',
    'RandomCenterCropPad',
    'RandomChoice',
    'RandomChoiceResize',
    'RandomContrast',
    'RandomCrop',
    'RandomErasing',
    'RandomExtent',
    'RandomFlip',
    'RandomGrayscale',
    'RandomLighting',
    'RandomOrder',
    'RandomResize',
    'RandomRotation',
    'RandomSaturation',
    'RandomShift',
    'RecordWarps',
    'Resize',
    'ResizeShortestEdge',
    'Rotate',
    'SegRescale',
    'Sharpness',
    'ShearX',
    'ShearY',
    'Solarize',
    'SolarizeAdd',
    'TestTimeAug',
    'ToTensor',
    'TransformBroadcaster',
    'TranslateX',
    'TranslateY',
    'Transpose',
    'UniformRefFrameSample',
    'YOLOXHSVRandomAug',
    'apply_warp',
    'decode_image',
    'image_to_tensor',
    'read_image',
    'select_instances',
]
