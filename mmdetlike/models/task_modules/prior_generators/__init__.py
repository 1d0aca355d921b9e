from .anchor_generator import AnchorGenerator
from .base import PriorGenerator
from .legacy_anchor_generator import LegacyAnchorGenerator, LegacySSDAnchorGenerator
from .point_generator import MlvlPointGenerator
from .ssd_anchor_generator import SSDAnchorGenerator
from .utils import anchor_inside_flags
from .yolo_anchor_generator import YOLOAnchorGenerator
