"""Parts of transformers: attention, feed-forward networks, positional encodings, patches."""

from .attention import MultiheadAttention, attention_mask
from .ffn import FFN, MLP, DynamicConv, LayerScale
from .patch import AdaptivePadding, PatchEmbed, PatchMerging, nchw_to_nlc, nlc_to_nchw
from .positional_encoding import (
    LearnedPositionalEncoding,
    SinePositionalEncoding,
    coordinate_to_encoding,
    inverse_sigmoid,
    sine_encoding,
)

__all__ = [
    'FFN',
    'MLP',
    'AdaptivePadding',
    'DynamicConv',
    'LayerScale',
    'LearnedPositionalEncoding',
    'MultiheadAttention',
    'PatchEmbed',
    'PatchMerging',
    'SinePositionalEncoding',
    'attention_mask',
    'coordinate_to_encoding',
    'inverse_sigmoid',
    'nchw_to_nlc',
    'nlc_to_nchw',
    'sine_encoding',
]
