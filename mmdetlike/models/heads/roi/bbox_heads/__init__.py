from .bbox_head import BBoxHead, ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from .dii_head import DIIHead
from .region_head import RegionHead
from .sabl_head import SABLHead
