from .bfp import BFP
from .bifpn import BiFPN
from .channel_mapper import ChannelMapper
from .csp_pafpn import YOLOXPAFPN, CSPNeXtPAFPN
from .ct_resnet_neck import CTResNetNeck
from .dilated_encoder import DilatedEncoder
from .dyhead import DyHead
from .fpg import FPG
from .fpn import FPN, PAFPN
from .fpn_carafe import FPN_CARAFE
from .hrfpn import HRFPN
from .hybrid_encoder import DFINEHybridEncoder, HybridEncoder
from .nas_fcos_fpn import NASFCOS_FPN
from .nas_fpn import NASFPN
from .rfp import ASPP, RFP
from .simple_fpn import SimpleFPN
from .ssd_neck import SSDNeck
from .yolo_neck import YOLOV3Neck
