from .base import BaseBBoxCoder, PseudoBBoxCoder
from .bucketing_bbox_coder import BucketingBBoxCoder
from .delta_xywh_bbox_coder import DeltaXYWHBBoxCoder, LegacyDeltaXYWHBBoxCoder
from .distance_point_bbox_coder import DistancePointBBoxCoder, TBLRBBoxCoder
from .rotated_bbox_coders import (
    DeltaXYWHHBBoxCoder,
    DeltaXYWHTHBBoxCoder,
    DeltaXYWHTRBBoxCoder,
    DeltaXYWHTurnBBoxCoder,
)
from .yolo_bbox_coder import YOLOBBoxCoder
