"""Parts of transformers: attention, feed-forward networks, positional encodings, patches, encoders and decoders."""

from .attention import (
    MultiheadAttention,
    ShiftWindowMSA,
    WindowMSA,
    attention_mask,
    padded_size,
    shift_mask,
    window_partition,
    window_reverse,
)
from .conditional import ConditionalDecoder, DABDecoder, DABEncoder
from .deformable import DeformableDecoder, DeformableEncoder, DINODecoder, RTDETRDecoder
from .detr_layers import AttentionMask, CrossFirstDecoder, TransformerDecoder, TransformerEncoder, refine_references
from .dfine import DFINEDecoder, EdgeOffsets, RefinedBoxes, UnevenDeformableAttention
from .ffn import FFN, MLP, DynamicConv, LayerScale, mlp
from .operation_order import (
    DetrTransformerDecoder,
    DetrTransformerDecoderLayer,
    DetrTransformerEncoder,
    Transformer,
    build_transformer,
)
from .patch import AdaptivePadding, PatchEmbed, PatchMerging, nchw_to_nlc, nlc_to_nchw
from .positional_encoding import (
    LearnedPositionalEncoding,
    SinePositionalEncoding,
    build_positional_encoding,
    coordinate_to_encoding,
    grid_encoding,
    inverse_sigmoid,
    sine_encoding,
)
from .pyramid import FlatPyramid, flatten_pyramid, padding_at
