"""Conditional attention: Conditional DETR, arXiv 2108.06152; with boxes for queries: DAB-DETR, arXiv 2201.12329."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError

from ..part import build_part
from .attention import attention_mask
from .detr_layers import ATTENTION, LAYER_NORM, DecoderLayer, TransformerDecoder, TransformerEncoder, TransformerLayer
from .ffn import MLP
from .positional_encoding import coordinate_to_encoding
from .pyramid import FlatPyramid

QUERY_SCALES = ('cond_elewise', 'cond_scalar', 'fix_elewise')


class ConditionalAttention(BaseModule):
    """Attention with separate projections of content and position, and its shortcut.

    Among queries, content and position are added. To the image they are put side by side, so that the weight of a pixel
    is the sum of a product of contents and a product of positions: where a query looks doesn't depend on what it seeks.

    Args:
        embed_dims, num_heads, attn_drop, proj_drop: As of ``MultiheadAttention``, and refused as there.
        cross_attn: Attend to the image, with ``reference_encoding`` as position of the queries.
        keep_query_pos: Also add positions to contents in attention to the image.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        cross_attn: bool = False,
        keep_query_pos: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if embed_dims % num_heads:
            raise ConfigError(f'embed_dims must be a multiple of num_heads, but got {embed_dims} and {num_heads}.')
        self.embed_dims, self.num_heads = embed_dims, num_heads
        self.cross_attn, self.keep_query_pos = cross_attn, keep_query_pos
        self.attn_drop = attn_drop
        self.qcontent_proj = nn.Linear(embed_dims, embed_dims)
        self.kcontent_proj = nn.Linear(embed_dims, embed_dims)
        self.kpos_proj = nn.Linear(embed_dims, embed_dims)
        self.v_proj = nn.Linear(embed_dims, embed_dims)
        if not cross_attn or keep_query_pos:
            self.qpos_proj = nn.Linear(embed_dims, embed_dims)
        if cross_attn:
            self.qpos_sine_proj = nn.Linear(embed_dims, embed_dims)
        self.out_proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        query_pos: Tensor,
        key_pos: Tensor,
        attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        reference_encoding: Tensor | None = None,
    ) -> Tensor:
        """Attend from queries (B, Q, C) to contents and positions of pixels or queries (B, S, C); add the shortcut.

        Masks are those of ``attention_mask``. In attention to the image ``reference_encoding`` (B, Q, C) holds the sine
        encodings of the queries' references.
        """
        queries = self.qcontent_proj(query)
        keys = self.kcontent_proj(key)
        key_pos = self.kpos_proj(key_pos)
        if not self.cross_attn or self.keep_query_pos:
            # among queries; and to the image in the first layer, where queries have no content yet
            queries = queries + self.qpos_proj(query_pos)
            keys = keys + key_pos
        queries = self.split_heads(queries)
        keys = self.split_heads(keys)
        if self.cross_attn:
            # within each head: the dot product of two such rows is the sum of both products
            queries = torch.cat([queries, self.split_heads(self.qpos_sine_proj(reference_encoding))], dim=-1)
            keys = torch.cat([keys, self.split_heads(key_pos)], dim=-1)
        out = F.scaled_dot_product_attention(
            queries,
            keys,
            self.split_heads(self.v_proj(value)),
            attn_mask=attention_mask(attn_mask, key_padding_mask, self.num_heads),
            dropout_p=self.attn_drop if self.training else 0.0,
        )
        return query + self.proj_drop(self.out_proj(out.transpose(1, 2).flatten(2)))

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, L, C) to (B, heads, L, C / heads)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class ConditionalDecoderLayer(DecoderLayer):
    """A decoder layer with conditional attention; its ``cross_attn_cfg`` may have ``keep_query_pos``."""

    def build_self_attention(self, cfg: dict | None) -> nn.Module:
        return build_part(cfg, ConditionalAttention, ATTENTION, cross_attn=False)

    def build_cross_attention(self, cfg: dict | None) -> nn.Module:
        return build_part(cfg, ConditionalAttention, ATTENTION, cross_attn=True)


class ConditionalDecoder(TransformerDecoder):
    """Decoder layers with conditional attention around a reference point of each query.

    The point comes from the query's position by ``ref_point_head``. Its sine encoding is scaled by what the query has
    found so far (``scale_encoding``): how far it looks to each side. Arguments of ``TransformerDecoder``.
    """

    layer_class = ConditionalDecoderLayer

    def build_heads(self) -> None:
        self.query_scale = MLP(self.embed_dims, self.embed_dims, self.embed_dims, 2)
        self.ref_point_head = MLP(self.embed_dims, self.embed_dims, 2, 2)

    def build_layer(self, index: int, cfg: dict) -> TransformerLayer:
        """The first layer, whose queries have no content yet, adds positions to contents."""
        cross = dict(cfg.get('cross_attn_cfg') or {}, keep_query_pos=index == 0)
        return super().build_layer(index, dict(cfg, cross_attn_cfg=cross))

    def attention_inputs(
        self, layer: int, query: Tensor, references: Tensor, pyramid: FlatPyramid, memory: Tensor
    ) -> dict[str, Tensor | None]:
        encoding = coordinate_to_encoding(references[..., :2], self.embed_dims // 2)
        image = super().attention_inputs(layer, query, references, pyramid, memory)
        return dict(image, reference_encoding=self.scale_encoding(layer, encoding, query))

    def scale_encoding(self, layer: int, encoding: Tensor, query: Tensor) -> Tensor:
        """Hook: encodings (B, Q, C) of reference points, scaled by queries (B, Q, C), which are empty at first."""
        return encoding if layer == 0 else encoding * self.query_scale(query)


class DABEncoder(TransformerEncoder):
    """Encoder layers that scale positions by what their pixels hold; arguments of ``TransformerEncoder``."""

    def build_heads(self) -> None:
        self.query_scale = MLP(self.embed_dims, self.embed_dims, self.embed_dims, 2)

    def layer_positions(self, query: Tensor, query_pos: Tensor) -> Tensor:
        return query_pos * self.query_scale(query)


class DABDecoder(ConditionalDecoder):
    """Decoder layers with conditional attention around reference boxes, which each layer refines.

    Args:
        num_layers, layer_cfg, post_norm_cfg: As of ``TransformerDecoder``.
        query_dim, return_intermediate: Must be 4, the numbers of a box, and True; else ``ConfigError``.
        query_scale_type: What scales the encodings of centers: ``'cond_elewise'``, each channel by the query;
            ``'cond_scalar'``, all channels alike by the query; ``'fix_elewise'``, each channel by the layer.
        with_modulated_hw_attn: Look further to a side, the larger the box is there.
    """

    reference_eps = 1e-3

    def __init__(
        self,
        num_layers: int,
        layer_cfg: dict | Sequence[dict],
        query_dim: int = 4,
        query_scale_type: str = 'cond_elewise',
        with_modulated_hw_attn: bool = True,
        post_norm_cfg: dict | None = LAYER_NORM,
        return_intermediate: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        if query_dim != 4 or not return_intermediate:
            raise ConfigError(
                f'queries of DABDecoder are boxes and all layers are returned: query_dim must be 4, got {query_dim}, '
                f'and return_intermediate must be True, got {return_intermediate}'
            )
        if query_scale_type not in QUERY_SCALES:
            raise ConfigError(f'query_scale_type must be one of {QUERY_SCALES}, got {query_scale_type!r}')
        self.query_dim, self.query_scale_type = query_dim, query_scale_type
        self.with_modulated_hw_attn = with_modulated_hw_attn
        super().__init__(num_layers, layer_cfg, post_norm_cfg, return_intermediate, init_cfg)

    def build_heads(self) -> None:
        dims = self.embed_dims
        if self.query_scale_type == 'fix_elewise':
            self.query_scale = nn.Embedding(self.num_layers, dims)
        else:
            self.query_scale = MLP(dims, dims, 1 if self.query_scale_type == 'cond_scalar' else dims, 2)
        self.ref_point_head = MLP(dims * 2, dims, dims, 2)
        if self.with_modulated_hw_attn:
            self.ref_anchor_head = MLP(dims, dims, 2, 2)

    def query_positions(self, layer: int, query_pos: Tensor | None, references: Tensor, pyramid: FlatPyramid) -> Tensor:
        """Sine encodings of the reference boxes, mapped to the width of queries."""
        return self.ref_point_head(coordinate_to_encoding(references, self.embed_dims // 2))

    def attention_inputs(
        self, layer: int, query: Tensor, references: Tensor, pyramid: FlatPyramid, memory: Tensor
    ) -> dict[str, Tensor | None]:
        """The pixels, and the encodings of the centers, scaled by queries and by the sizes of the boxes."""
        inputs = super().attention_inputs(layer, query, references, pyramid, memory)
        if self.with_modulated_hw_attn:
            # the query says which size it expects; the encoding is of y first, then of x
            # section 4.4 of the paper: attention is spread along a side as the box is large there
            expected = self.ref_anchor_head(query).sigmoid()
            ratio = (expected / references[..., 2:]).flip(-1)
            ratio = ratio.repeat_interleave(self.embed_dims // 2, dim=-1)
            inputs['reference_encoding'] = inputs['reference_encoding'] * ratio
        return inputs

    def scale_encoding(self, layer: int, encoding: Tensor, query: Tensor) -> Tensor:
        if self.query_scale_type == 'fix_elewise':
            return encoding * self.query_scale.weight[layer]
        return super().scale_encoding(layer, encoding, query)
