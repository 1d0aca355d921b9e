from .base import MaskGridHead
from .solo_head import DecoupledSOLOHead, DecoupledSOLOLightHead, SOLOHead, SOLOV2Head
