from .assigners import AssignResult, BboxOverlaps2D, GridAssigner, MaxIoUAssigner
from .bbox_coder import (
    DeltaXYWHBBoxCoder,
    DistancePointBBoxCoder,
    LegacyDeltaXYWHBBoxCoder,
    PseudoBBoxCoder,
    TBLRBBoxCoder,
    YOLOBBoxCoder,
)
from .prior_generators import (
    AnchorGenerator,
    LegacyAnchorGenerator,
    LegacySSDAnchorGenerator,
    MlvlPointGenerator,
    PriorGenerator,
    SSDAnchorGenerator,
    YOLOAnchorGenerator,
    anchor_inside_flags,
    calc_region,
)
from .samplers import PseudoSampler, RandomSampler, SamplingResult
from .assigners import AssignResult, BboxOverlaps2D, MaxIoUAssigner
from .bbox_coder import DeltaXYWHBBoxCoder
from .prior_generators import AnchorGenerator, anchor_inside_flags, calc_region
from .samplers import (
    BaseSampler,
    CombinedSampler,
    InstanceBalancedPosSampler,
    IoUBalancedNegSampler,
    OHEMSampler,
    PseudoSampler,
    RandomSampler,
    SamplingResult,
)
from .utils import images_to_levels, unmap

__all__ = [
    'AnchorGenerator',
    'AssignResult',
    'BaseSampler',
    'BboxOverlaps2D',
    'CombinedSampler',
    'DeltaXYWHBBoxCoder',
    'DistancePointBBoxCoder',
    'GridAssigner',
    'LegacyAnchorGenerator',
    'LegacyDeltaXYWHBBoxCoder',
    'LegacySSDAnchorGenerator',
    'MaxIoUAssigner',
    'MlvlPointGenerator',
    'PriorGenerator',
    'PseudoBBoxCoder',
    'InstanceBalancedPosSampler',
    'IoUBalancedNegSampler',
    'MaxIoUAssigner',
    'OHEMSampler',
    'PseudoSampler',
    'RandomSampler',
    'SSDAnchorGenerator',
    'SamplingResult',
    'TBLRBBoxCoder',
    'YOLOAnchorGenerator',
    'YOLOBBoxCoder',
    'anchor_inside_flags',
    'calc_region',
    'images_to_levels',
    'unmap',
]
