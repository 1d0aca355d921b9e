from .bfp import BFP
from .channel_mapper import ChannelMapper
from .csp_pafpn import YOLOXPAFPN, CSPNeXtPAFPN
from .ct_resnet_neck import CTResNetNeck
from .dilated_encoder import DilatedEncoder
from .fpn import FPN
from .hrfpn import HRFPN
from .hybrid_encoder import HybridEncoder
from .pafpn import PAFPN
from .ssd_neck import SSDNeck
from .yolo_neck import YOLOV3Neck
