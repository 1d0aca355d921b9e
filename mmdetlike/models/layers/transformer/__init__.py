"""Parts of transformers: attention, feed-forward networks, positional encodings, patches."""

from .attention import MultiheadAttention, attention_mask
from .denoising import CdnQueryGenerator, DenoisingQueries
from .detr_layers import (
    DeformableDecoder,
    FlatPyramid,
    TransformerDecoder,
    TransformerEncoder,
    flatten_pyramid,
    move,
    padding_at,
)
from .ffn import FFN, MLP, DynamicConv, LayerScale, mlp
from .patch import AdaptivePadding, PatchEmbed, PatchMerging, nchw_to_nlc, nlc_to_nchw
from .positional_encoding import (
    LearnedPositionalEncoding,
    SinePositionalEncoding,
    build_sine_encoding,
    coordinate_to_encoding,
    inverse_sigmoid,
    sine_encoding,
)
from .window import ShiftWindowMSA, WindowMSA, padded_size, shift_mask, window_partition, window_reverse
