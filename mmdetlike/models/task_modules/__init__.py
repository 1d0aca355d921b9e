from .assigners import (
    AssignResult,
    ATSSAssigner,
    BboxOverlaps2D,
    DynamicSoftLabelAssigner,
    GridAssigner,
    MaxIoUAssigner,
    PointRangeAssigner,
    SimOTAAssigner,
)
from .bbox_coder import (
    BucketingBBoxCoder,
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
)
from .priors import Priors, box_centers
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
