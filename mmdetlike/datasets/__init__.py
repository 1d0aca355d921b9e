"""Datasets, samplers and transforms: from files, or pictures drawn on the fly, to the samples that a detector takes."""

from . import transforms
from .base import BaseDetDataset
from .class_aware_sampler import ClassAwareSampler
from .coco import CocoDataset
from .coco_kin import (
    ADE20KInstanceDataset,
    ADE20KPanopticDataset,
    CityscapesDataset,
    DeepFashionDataset,
    Objects365V1Dataset,
    Objects365V2Dataset,
    V3DetDataset,
    iSAIDDataset,
)
from .coco_panoptic import CocoPanopticDataset
from .coco_separated import CocoSeparatedPanopticDataset
from .crowdhuman import CrowdHumanDataset
from .csv_boxes import CSVDataset
from .dsdl import DSDLDetDataset
from .errors import DataError, ImageError
from .labelme import LabelmeDataset
from .lvis import LVISV05Dataset, LVISV1Dataset
from .middle_format import CustomDataset
from .multi_source import GroupMultiSourceSampler, MultiSourceSampler
from .openimages import OpenImagesChallengeDataset, OpenImagesDataset
from .registered import RegisteredDataset, register_dataset, registered_datasets, remove_dataset
from .repeat_factor_sampler import RepeatFactorSampler
from .sample_size_sampler import CustomSampleSizeSampler
from .samplers import AspectRatioBatchSampler, DefaultSampler, InfiniteSampler
from .seeding import SeededIndex, seeded
from .semantic import ADE20KSegDataset, BaseSegDataset, CocoStuffDataset
from .shapes import LoadShapesImage, ShapesDataset
from .streaming import ShardSampler, StreamingDetDataset
from .unlabeled import UnlabeledDataset
from .video import BaseVideoDataset
from .video_challenges import MOTChallengeDataset, YouTubeVISDataset
from .voc import VOCDataset, XMLDataset
from .wider_face import WIDERFaceDataset
from .wrappers import ClassBalancedDataset, ConcatDataset, MultiImageMixDataset, RepeatDataset
from .yolo import YOLODataset

__all__ = [
    'ADE20KInstanceDataset',
    'ADE20KPanopticDataset',
    'ADE20KSegDataset',
    'AspectRatioBatchSampler',
    'BaseDetDataset',
    'BaseSegDataset',
    'BaseVideoDataset',
    'CSVDataset',
    'CityscapesDataset',
    'ClassAwareSampler',
    'ClassBalancedDataset',
    'CocoDataset',
    'CocoPanopticDataset',
    'CocoSeparatedPanopticDataset',
    'CocoStuffDataset',
    'ConcatDataset',
    'CrowdHumanDataset',
    'CustomDataset',
    'CustomSampleSizeSampler',
    'DSDLDetDataset',
    'DataError',
    'DeepFashionDataset',
    'DefaultSampler',
    'GroupMultiSourceSampler',
    'ImageError',
    'InfiniteSampler',
    'LVISV05Dataset',
    'LVISV1Dataset',
    'LabelmeDataset',
    'LoadShapesImage',
    'MOTChallengeDataset',
    'MultiImageMixDataset',
    'MultiSourceSampler',
    'Objects365V1Dataset',
    'Objects365V2Dataset',
    'OpenImagesChallengeDataset',
    'OpenImagesDataset',
    'RegisteredDataset',
    'RepeatDataset',
    'RepeatFactorSampler',
    'SeededIndex',
    'ShapesDataset',
    'ShardSampler',
    'StreamingDetDataset',
    'UnlabeledDataset',
    'V3DetDataset',
    'VOCDataset',
    'WIDERFaceDataset',
    'XMLDataset',
    'YOLODataset',
    'YouTubeVISDataset',
    'iSAIDDataset',
    'register_dataset',
    'registered_datasets',
    'remove_dataset',
    'seeded',
    'transforms',
]
