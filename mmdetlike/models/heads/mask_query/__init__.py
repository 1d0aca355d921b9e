"""Heads that predict a mask and a class for each query of a transformer."""

from .maskformer_head import Mask2FormerHead, MaskFormerHead
from .pixel_decoder import MSDeformAttnPixelDecoder, PixelDecoder, TransformerEncoderPixelDecoder
