"""Heads that predict a mask and a class for each query of a transformer."""

from .mask2former_head import Mask2FormerHead
from .maskformer_head import MaskFormerHead
from .pixel_decoder import MSDeformAttnPixelDecoder, PixelDecoder, TransformerEncoderPixelDecoder
