from .anchor_generator import AnchorGenerator
from .base import PriorGenerator
from .legacy_anchor_generator import LegacyAnchorGenerator, LegacySSDAnchorGenerator
from .point_generator import MlvlPointGenerator
from .ssd_anchor_generator import SSDAnchorGenerator
from .utils import anchor_inside_flags, calc_region
from .yolo_anchor_generator import YOLOAnchorGenerator
