from .base import BaseBBoxCoder
from .bucketing_bbox_coder import BucketingBBoxCoder
from .delta_xywh_bbox_coder import DeltaXYWHBBoxCoder, LegacyDeltaXYWHBBoxCoder
from .distance_point_bbox_coder import DistancePointBBoxCoder
from .pseudo_bbox_coder import PseudoBBoxCoder
from .rotated_bbox_coders import DeltaXYWHHBBoxCoder, DeltaXYWHTHBBoxCoder, DeltaXYWHTRBBoxCoder
from .tblr_bbox_coder import TBLRBBoxCoder
from .yolo_bbox_coder import YOLOBBoxCoder
