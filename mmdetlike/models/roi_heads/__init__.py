from .bbox_heads import BBoxHead, ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from .roi_extractors import SingleRoIExtractor
from .shared_heads import ResLayer
from .stage import Stage
from .standard_roi_head import StandardRoIHead

__all__ = [
    'BBoxHead',
    'ConvFCBBoxHead',
    'ResLayer',
    'Shared2FCBBoxHead',
    'Shared4Conv1FCBBoxHead',
    'SingleRoIExtractor',
    'Stage',
    'StandardRoIHead',
]
