"""Encoders and decoders of query-based detectors: layers, stacks of them, and the hooks in which papers differ.

DETR, arXiv 2005.12872; Mask2Former, arXiv 2112.01527. All tensors are (batch, length, channels).
"""

from collections.abc import Callable, Sequence

import torch
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmdetlike.errors import ConfigError

from ..norm import build_norm_layer
from ..part import build_part
from ..recompute import maybe_recompute
from .attention import MultiheadAttention
from .ffn import FFN
from .positional_encoding import inverse_sigmoid
from .pyramid import FlatPyramid

LAYER_NORM = dict(type='LN')
# what queries must not look at in self-attention: one mask for all layers, or a function that makes that of a layer
AttentionMask = Tensor | Callable[[int, Tensor, Tensor], Tensor] | None
# what the attention of a layer has where its config doesn't say otherwise
ATTENTION = dict(embed_dims=256, num_heads=8)


class TransformerLayer(BaseModule):
    """Base of encoder and decoder layers: attention and a feed-forward network, with a norm after each.

    Args:
        self_attn_cfg: Arguments of the attention of queries to each other.
        cross_attn_cfg: Arguments of the attention of queries to the image; of no use in an encoder layer.
        ffn_cfg, norm_cfg: Arguments of the feed-forward network, and norm layer.
    """

    has_cross_attention = False

    def __init__(
        self,
        self_attn_cfg: dict | None = None,
        cross_attn_cfg: dict | None = None,
        ffn_cfg: dict | None = None,
        norm_cfg: dict = LAYER_NORM,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.self_attn = self.build_self_attention(self_attn_cfg)
        if self.has_cross_attention:
            self.cross_attn = self.build_cross_attention(cross_attn_cfg)
        self.embed_dims = self.self_attn.embed_dims
        self.ffn = build_part(ffn_cfg, FFN, dict(embed_dims=self.embed_dims))
        num_norms = 3 if self.has_cross_attention else 2
        self.norms = nn.ModuleList(build_norm_layer(norm_cfg, self.embed_dims)[1] for _ in range(num_norms))

    def build_self_attention(self, cfg: dict | None) -> nn.Module:
        """Hook: the attention of queries to each other; an encoder's queries are the pixels."""
        return build_part(cfg, MultiheadAttention, ATTENTION, batch_first=True)

    def build_cross_attention(self, cfg: dict | None) -> nn.Module:
        """Hook: the attention of queries to the image."""
        return build_part(cfg, MultiheadAttention, ATTENTION, batch_first=True)


class EncoderLayer(TransformerLayer):
    """Self-attention of pixels and a feed-forward network."""

    def forward(self, query: Tensor, query_pos: Tensor, **attention) -> Tensor:
        """Encode pixels (B, S, C) at positions (B, S, C); ``attention`` is handed to the attention layer."""
        query = self.norms[0](self.self_attn(query, query_pos=query_pos, **attention))
        return self.norms[1](self.ffn(query))


class DecoderLayer(TransformerLayer):
    """Self-attention of queries, attention to the image and a feed-forward network."""

    has_cross_attention = True

    def forward(self, query: Tensor, query_pos: Tensor, self_attn_mask: Tensor | None = None, **cross) -> Tensor:
        """Decode queries (B, Q, C) at positions (B, Q, C).

        ``self_attn_mask``, (Q, Q) or one for each image and head, (B * heads, Q, Q), is True where a query must not
        look at another; ``cross`` is handed to the attention to the image: ``key``, ``value``, ``key_pos``, ...
        """
        query = self.norms[0](self.attend_to_queries(query, query_pos, self_attn_mask))
        query = self.norms[1](self.cross_attn(query, query_pos=query_pos, **cross))
        return self.norms[2](self.ffn(query))

    def attend_to_queries(self, query: Tensor, query_pos: Tensor, mask: Tensor | None) -> Tensor:
        """Self-attention of queries (B, Q, C), with its shortcut."""
        return self.self_attn(query, query, query, query_pos=query_pos, key_pos=query_pos, attn_mask=mask)


class CrossFirstDecoderLayer(DecoderLayer):
    """A decoder layer whose queries attend to the image before they attend to each other (Mask2Former)."""

    def forward(self, query: Tensor, query_pos: Tensor, self_attn_mask: Tensor | None = None, **cross) -> Tensor:
        query = self.norms[0](self.cross_attn(query, query_pos=query_pos, **cross))
        query = self.norms[1](self.attend_to_queries(query, query_pos, self_attn_mask))
        return self.norms[2](self.ffn(query))


class LayerStack(BaseModule):
    """Layers one after the other, initialized by Xavier.

    A subclass names the class of its layers in ``layer_class``, or makes each in ``build_layer``, and makes what they
    share in ``build_heads``, which encoders and decoders call at the end of their constructors.

    Args:
        num_layers: Number of layers; ``ConfigError`` below 1.
        layer_cfg: Arguments of the layers: one dict for all, or a list with one for each; else ``ConfigError``.
    """

    layer_class: type[TransformerLayer]

    def __init__(self, num_layers: int, layer_cfg: dict | Sequence[dict], init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if num_layers < 1:
            raise ConfigError(f'{type(self).__name__} needs num_layers of at least 1, got {num_layers}')
        cfgs = [layer_cfg] * num_layers if isinstance(layer_cfg, dict) else list(layer_cfg)
        if len(cfgs) != num_layers:
            raise ConfigError(f'layer_cfg has {len(cfgs)} entries, num_layers={num_layers} are expected')
        self.num_layers = num_layers
        # mmengine's list hands init_weights on to the layers, torch's does not
        self.layers = ModuleList(self.build_layer(i, cfg) for i, cfg in enumerate(cfgs))
        self.embed_dims = self.layers[0].embed_dims

    def build_layer(self, index: int, cfg: dict) -> TransformerLayer:
        """Hook: the layer number ``index``, of its arguments."""
        return build_part(cfg, self.layer_class)

    def build_heads(self) -> None:
        """Hook: make the small networks that all layers share; by default there are none."""

    def init_weights(self) -> None:
        """Initialize all matrices by Xavier, then let each part that knows better initialize itself."""
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)
        super().init_weights()


class TransformerEncoder(LayerStack):
    """Encoder layers, with the hooks ``attention_inputs`` (what layers know of the pyramid) and ``layer_positions``.

    Args:
        num_layers, layer_cfg: As of ``LayerStack``.
        num_cp: This many layers, counted from the first, recompute activations in the backward pass to save memory.
    """

    layer_class = EncoderLayer

    def __init__(
        self,
        num_layers: int,
        layer_cfg: dict | Sequence[dict],
        num_cp: int = -1,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(num_layers, layer_cfg, init_cfg)
        self.num_cp = num_cp
        self.build_heads()

    def forward(self, query: Tensor, query_pos: Tensor, **attention) -> Tensor:
        """Encode pixels (B, S, C) at positions (B, S, C); ``attention`` is handed to the attention layers."""
        for i, layer in enumerate(self.layers):
            pos = self.layer_positions(query, query_pos)
            query = maybe_recompute(i < self.num_cp, layer, query, pos, **attention)
        return query

    def encode(self, pyramid: FlatPyramid) -> Tensor:
        """The pixels (B, S, C) of a pyramid after attention to each other."""
        return self(pyramid.feats, pyramid.pos, **self.attention_inputs(pyramid))

    def attention_inputs(self, pyramid: FlatPyramid) -> dict[str, Tensor | None]:
        """Hook: what the attention of each layer takes beside pixels and positions."""
        return dict(key_padding_mask=pyramid.padding_mask)

    def layer_positions(self, query: Tensor, query_pos: Tensor) -> Tensor:
        """Hook: positions (B, S, C) that a layer adds to its pixels ``query`` (B, S, C); by default the encodings."""
        return query_pos


class TransformerDecoder(LayerStack):
    """Decoder layers, and the loop that runs them.

    Papers differ in four hooks, each of which sees what it needs as arguments: ``query_positions`` (what is added to
    queries in a layer), ``attention_inputs`` (what a layer knows of the image), ``next_references`` (where the next
    layer looks) and ``layer_output`` (what the head sees of a layer). Where queries have references,
    ``reference_eps`` and ``looks_forward_twice`` say how they are refined.

    Args:
        num_layers, layer_cfg: As of ``LayerStack``.
        post_norm_cfg: Norm of the outputs; None for none.
        return_intermediate: Return the outputs of all layers, not of the last one alone.
    """

    layer_class = DecoderLayer
    # keeps the logits of refined references finite; None where queries have no references
    reference_eps: float | None = None
    # whether a layer's loss also trains the box that the layer before refined (DINO)
    looks_forward_twice = True

    def __init__(
        self,
        num_layers: int,
        layer_cfg: dict | Sequence[dict],
        post_norm_cfg: dict | None = LAYER_NORM,
        return_intermediate: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(num_layers, layer_cfg, init_cfg)
        self.return_intermediate = return_intermediate
        self.post_norm = build_norm_layer(post_norm_cfg, self.embed_dims)[1] if post_norm_cfg else nn.Identity()
        self.build_heads()

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor | None,
        references: Tensor | None,
        pyramid: FlatPyramid,
        memory: Tensor,
        self_attn_mask: AttentionMask = None,
        reg_branches: Sequence[Callable[[Tensor], Tensor]] | None = None,
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """Decode.

        Args:
            query: (B, Q, C) content of the queries.
            query_pos: (B, Q, C) their positions; None where each layer makes them from references.
            references: (B, Q, 2) x, y or (B, Q, 4) cx, cy, w, h in [0, 1]; None where queries have none.
            pyramid: The image that queries attend to.
            memory: (B, S, C) its pixels after the encoder.
            self_attn_mask: (Q, Q) or (B * heads, Q, Q) True where a query must not look at another; or what makes it
                before each layer, from the layer's index, the queries and their references.
            reg_branches: For each layer what refines the references; None keeps them.

        Returns:
            Of each layer the queries (B, Q, C), and the references that its boxes are relative to.
        """
        hidden_states, output_references = [], []
        # what boxes are relative to: the same numbers as ``references``, but perhaps with a gradient
        box_references = references
        for i, layer in enumerate(self.layers):
            pos = self.query_positions(i, query_pos, references, pyramid)
            image = self.attention_inputs(i, query, references, pyramid, memory)
            mask = self_attn_mask(i, query, references) if callable(self_attn_mask) else self_attn_mask
            query = layer(query, pos, mask, **image)
            hidden_states.append(self.layer_output(query))
            output_references.append(box_references)
            # after the last layer nothing looks at references: the head itself refines them into boxes
            if reg_branches is not None and i + 1 < self.num_layers:
                references, box_references = self.next_references(references, reg_branches[i](query))
        first = 0 if self.return_intermediate else -1
        return hidden_states[first:], output_references[first:]

    def query_positions(
        self, layer: int, query_pos: Tensor | None, references: Tensor | None, pyramid: FlatPyramid
    ) -> Tensor:
        """Hook: positions (B, Q, C) of the queries in a layer; by default those that the decoder was given."""
        return query_pos

    def attention_inputs(
        self, layer: int, query: Tensor, references: Tensor | None, pyramid: FlatPyramid, memory: Tensor
    ) -> dict[str, Tensor | None]:
        """Hook: what the attention of a layer to the image takes beside queries and their positions."""
        return dict(key=memory, value=memory, key_pos=pyramid.pos, key_padding_mask=pyramid.padding_mask)

    def next_references(self, references: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
        """Hook: references (B, Q, 2 or 4) after a layer that predicts ``deltas`` (B, Q, 4).

        The first say where the next layer looks, the second what its boxes are relative to: the same numbers, but their
        gradients may differ. ``NotImplementedError`` where queries have none.
        """
        if self.reference_eps is None:
            raise NotImplementedError(f'the queries of {type(self).__name__} have no references to refine')
        refined = refine_references(references, deltas, self.reference_eps)
        fixed = refined.detach()
        return fixed, refined if self.looks_forward_twice else fixed

    def layer_output(self, query: Tensor) -> Tensor:
        """Hook: what the head sees of the queries (B, Q, C) after a layer."""
        return self.post_norm(query)


class CrossFirstDecoder(TransformerDecoder):
    """A decoder whose layers attend to the image first (Mask2Former, arXiv 2112.01527)."""

    layer_class = CrossFirstDecoderLayer


def refine_references(references: Tensor, deltas: Tensor, eps: float = 1e-5) -> Tensor:
    """Boxes from references and what a layer adds to them.

    Args:
        references: (..., 2) x, y or (..., 4) cx, cy, w, h in [0, 1].
        deltas: (..., 4) added before the sigmoid; with points, w and h come from the deltas alone.
        eps: Keeps the logits of 0 and 1 finite.

    Returns:
        (..., 4) cx, cy, w, h in [0, 1].
    """
    # in the space of logits, where what a layer adds can't leave the image
    start = inverse_sigmoid(references, eps)
    if start.shape[-1] == 2:
        start = torch.cat([start, torch.zeros_like(start)], dim=-1)
    return (deltas + start).sigmoid()
