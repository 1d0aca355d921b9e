from .assigners import AssignResult, BboxOverlaps2D, MaxIoUAssigner
from .bbox_coder import DeltaXYWHBBoxCoder
from .prior_generators import AnchorGenerator, anchor_inside_flags, calc_region
from .samplers import PseudoSampler, RandomSampler, SamplingResult
from .utils import images_to_levels, unmap

__all__ = [
    'AnchorGenerator',
    'AssignResult',
    'BboxOverlaps2D',
    'DeltaXYWHBBoxCoder',
    'MaxIoUAssigner',
    'PseudoSampler',
    'RandomSampler',
    'SamplingResult',
    'anchor_inside_flags',
    'calc_region',
    'images_to_levels',
    'unmap',
]
