"""Queries that are boxes: DAB-DETR: Dynamic Anchor Boxes are Better Queries for DETR, arXiv 2201.12329."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmdetlike.errors import ConfigError

from .conditional import ConditionalDecoder
from .deformable import refine_references
from .detr_layers import LAYER_NORM, TransformerEncoder
from .ffn import MLP
from .positional_encoding import coordinate_to_encoding
from .pyramid import FlatPyramid

QUERY_SCALES = ('cond_elewise', 'cond_scalar', 'fix_elewise')


class DABEncoder(TransformerEncoder):
    """Encoder layers that scale positions by what their pixels hold; arguments of ``TransformerEncoder``."""

    def __init__(
        self,
        num_layers: int,
        layer_cfg: dict | Sequence[dict],
        num_cp: int = -1,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(num_layers, layer_cfg, num_cp, init_cfg)
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

    def next_references(self, references: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
        """Refined boxes; a layer's loss also trains the box that the layer before refined."""
        refined = refine_references(references, deltas, eps=1e-3)
        return refined.detach(), refined
