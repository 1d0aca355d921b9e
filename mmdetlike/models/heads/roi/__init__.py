from .bbox_heads import (
    BBoxHead,
    ConvFCBBoxHead,
    DIIHead,
    RegionHead,
    SABLHead,
    Shared2FCBBoxHead,
    Shared4Conv1FCBBoxHead,
)
from .branches import MaskBranch, RoIBranch
from .cascade_roi_head import CascadeRoIHead, SharedMaskCascadeRoIHead
from .double_roi_head import DoubleConvFCBBoxHead, DoubleHeadRoIHead
from .dynamic_roi_head import DynamicRoIHead
from .grid_roi_head import GridHead, GridRoIHead
from .htc_roi_head import FusedSemanticHead, HTCMaskHead, HybridTaskCascadeRoIHead
from .keypoint_roi_head import DeconvKeypointHead, KeypointRoIHead
from .mask_heads import FCNMaskHead
from .mask_scoring_roi_head import MaskIoUHead, MaskScoringRoIHead
from .multi_instance_roi_head import MultiInstanceBBoxHead, MultiInstanceRoIHead
from .pisa_roi_head import PISARoIHead
from .point_rend_roi_head import CoarseMaskHead, MaskPointHead, PointRendRoIHead
from .point_sup_roi_head import PointSupRoIHead
from .query_masks import DynamicMaskHead
from .roi_extractors import GenericRoIExtractor, SingleRoIExtractor
from .roi_head import RoIHead, StandardRoIHead
from .scnet_roi_head import (
    FeatureRelayHead,
    GlobalContextHead,
    SCNetBBoxHead,
    SCNetMaskHead,
    SCNetRoIHead,
    SCNetSemanticHead,
)
from .shared_heads import ResLayer
from .sparse_roi_head import EmbeddingRPNHead, SparseRoIHead
from .stage import Stage, StageOutputs, StageResult
from .trident_roi_head import TridentRoIHead
