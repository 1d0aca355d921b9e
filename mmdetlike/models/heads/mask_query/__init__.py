from .maskformer_head import Mask2FormerHead, MaskFormerHead
