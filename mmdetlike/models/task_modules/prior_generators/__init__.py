from .anchor_generator import AnchorGenerator
from .utils import anchor_inside_flags, calc_region

__all__ = ['AnchorGenerator', 'anchor_inside_flags', 'calc_region']
