from .assigners import (
    ApproxMaxIoUAssigner,
    AssignResult,
    ATSSAssigner,
    BboxOverlaps2D,
    DynamicSoftLabelAssigner,
    GridAssigner,
    MaxIoUAssigner,
    PointAssigner,
    PointRangeAssigner,
    RBbox2HBboxOverlaps2D,
    RBboxOverlaps2D,
    RegionAssigner,
    SimOTAAssigner,
)
from .bbox_coder import (
    BucketingBBoxCoder,
    DeltaXYWHBBoxCoder,
    DeltaXYWHHBBoxCoder,
    DeltaXYWHTHBBoxCoder,
    DeltaXYWHTRBBoxCoder,
    DistancePointBBoxCoder,
    LegacyDeltaXYWHBBoxCoder,
    PseudoBBoxCoder,
    TBLRBBoxCoder,
    YOLOBBoxCoder,
)
from .prior_generators import (
    AnchorGenerator,
    FakeRotatedAnchorGenerator,
    LegacyAnchorGenerator,
    LegacySSDAnchorGenerator,
    MlvlPointGenerator,
    PriorGenerator,
    SSDAnchorGenerator,
    YOLOAnchorGenerator,
    anchor_inside_flags,
)
from .priors import Priors
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
