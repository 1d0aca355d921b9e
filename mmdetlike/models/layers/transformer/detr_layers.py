"""Encoders and decoders of query-based detectors, one of each with the variations as arguments.

DETR, arXiv 2005.12872; Deformable DETR, arXiv 2010.04159; DINO, arXiv 2203.03605; Mask2Former, arXiv 2112.01527.
All tensors are (batch, length, channels).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike_ops import MultiScaleDeformableAttention

from ..norm import build_norm_layer
from ..recompute import maybe_recompute
from .attention import MultiheadAttention
from .ffn import FFN, MLP
from .positional_encoding import coordinate_to_encoding, inverse_sigmoid

LAYER_NORM = dict(type='LN')


@dataclass
class FlatPyramid:
    """The levels of a pyramid in a row, which deformable attention samples from.

    Attributes:
        feats: (B, S, C) pixels of one level after the other.
        pos: (B, S, C) their positional encodings.
        padding_mask: (B, S) True for padding; None where there is none.
        sizes: Height and width of each level.
        spatial_shapes: (L, 2) int64, the same as a tensor, which is not read so that nothing waits for a device.
        level_start_index: (L,) place of the first pixel of each level.
        valid_ratios: (B, L, 2) the share of each level's width and height that is image.
    """

    feats: Tensor
    pos: Tensor
    padding_mask: Tensor | None
    sizes: list[tuple[int, int]]
    spatial_shapes: Tensor
    level_start_index: Tensor
    valid_ratios: Tensor

    def sampling(self) -> dict[str, Tensor | None]:
        """What deformable attention to this pyramid needs beside queries and reference points."""
        return dict(
            key_padding_mask=self.padding_mask,
            spatial_shapes=self.spatial_shapes,
            level_start_index=self.level_start_index,
        )

    def reference_points(self) -> Tensor:
        """(B, S, L, 2) where each pixel's centre is, x and y as shares of each level."""
        points = []
        for (height, width), ratios in zip(self.sizes, self.valid_ratios.unbind(1)):
            y = (torch.arange(height, dtype=ratios.dtype, device=ratios.device) + 0.5) / height
            x = (torch.arange(width, dtype=ratios.dtype, device=ratios.device) + 0.5) / width
            grid = torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1).reshape(1, -1, 2)
            points.append(grid / ratios[:, None])
        return torch.cat(points, dim=1)[:, :, None] * self.valid_ratios[:, None]


class TransformerLayer(BaseModule):
    """What encoder and decoder layers share: attentions, a feed-forward network, a norm after each.

    Args:
        self_attn_cfg: Attention among the queries.
        cross_attn_cfg: Attention from queries to the image; None for an encoder layer.
        ffn_cfg, norm_cfg: Feed-forward network and norm layers.
        deformable: The attention to the image (of an encoder: its self-attention) is deformable.
        cross_first: Attend to the image before the queries attend to each other.
    """

    def __init__(
        self,
        self_attn_cfg: dict | None = None,
        cross_attn_cfg: dict | None = None,
        ffn_cfg: dict | None = None,
        norm_cfg: dict = LAYER_NORM,
        init_cfg: dict | None = None,
        deformable: bool = False,
        cross_first: bool = False,
    ) -> None:
        super().__init__(init_cfg)
        is_decoder = cross_attn_cfg is not None
        self.cross_first = cross_first
        self.self_attn = _build_attention(self_attn_cfg, deformable and not is_decoder)
        if is_decoder:
            self.cross_attn = _build_attention(cross_attn_cfg, deformable)
        self.embed_dims = self.self_attn.embed_dims
        self.ffn = FFN(**dict(dict(embed_dims=self.embed_dims), **(ffn_cfg or {})))
        count = 3 if is_decoder else 2
        self.norms = nn.ModuleList(build_norm_layer(norm_cfg, self.embed_dims)[1] for _ in range(count))


def _build_attention(cfg: dict | None, deformable: bool) -> nn.Module:
    cfg = {'embed_dims': 256, 'num_heads': 8, **(cfg or {}), 'batch_first': True}
    return (MultiScaleDeformableAttention if deformable else MultiheadAttention)(**cfg)


class EncoderLayer(TransformerLayer):
    """Self-attention and a feed-forward network."""

    def forward(self, query: Tensor, query_pos: Tensor, **attention) -> Tensor:
        """Map features (B, S, C); ``attention`` is handed to the attention layer."""
        query = self.norms[0](self.self_attn(query, query_pos=query_pos, **attention))
        return self.norms[1](self.ffn(query))


class DecoderLayer(TransformerLayer):
    """Self-attention of the queries, attention to the image and a feed-forward network."""

    def forward(self, query: Tensor, query_pos: Tensor, self_attn_mask: Tensor | None = None, **cross) -> Tensor:
        """Map queries (B, Q, C) at positions (B, Q, C).

        ``self_attn_mask`` (Q, Q) is True where a query must not look at another; ``cross`` is handed to the attention
        to the image: ``key``, ``value``, ``key_pos``, ...
        """
        if self.cross_first:
            query = self.norms[0](self.cross_attn(query, query_pos=query_pos, **cross))
            query = self.norms[1](self._among(query, query_pos, self_attn_mask))
        else:
            query = self.norms[0](self._among(query, query_pos, self_attn_mask))
            query = self.norms[1](self.cross_attn(query, query_pos=query_pos, **cross))
        return self.norms[2](self.ffn(query))

    def _among(self, query: Tensor, query_pos: Tensor, mask: Tensor | None) -> Tensor:
        return self.self_attn(query, query, query, query_pos=query_pos, key_pos=query_pos, attn_mask=mask)


class LayerStack(BaseModule):
    """Layers one after the other.

    Args:
        num_layers: How many.
        layer_cfg: Arguments of ``TransformerLayer``, one for all or a list with one for each.
        **options: Further arguments of every layer.

    Raises:
        ValueError: There is another number of layers than of configs.
    """

    layer: type[TransformerLayer]

    def __init__(
        self, num_layers: int, layer_cfg: dict | Sequence[dict], init_cfg: dict | None = None, **options
    ) -> None:
        super().__init__(init_cfg)
        cfgs = [layer_cfg] * num_layers if isinstance(layer_cfg, dict) else list(layer_cfg)
        if len(cfgs) != num_layers:
            raise ValueError(f'layer_cfg has {len(cfgs)} entries, num_layers={num_layers} are expected')
        self.num_layers = num_layers
        self.layers = nn.ModuleList(self.layer(**cfg, **options) for cfg in cfgs)
        self.embed_dims = self.layers[0].embed_dims


class TransformerEncoder(LayerStack):
    """Encoder layers; with ``deformable`` they attend to a few points in each level of a pyramid.

    Args:
        num_cp: So many of the first layers recompute activations in the backward pass to save memory.
        *args, **kwargs: As of ``LayerStack``.
    """

    layer = EncoderLayer

    def __init__(self, *args, num_cp: int = -1, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.num_cp = num_cp

    def forward(self, query: Tensor, query_pos: Tensor, **attention) -> Tensor:
        """Map features (B, S, C) with positions (B, S, C)."""
        for i, layer in enumerate(self.layers):
            query = maybe_recompute(i < self.num_cp, layer, query, query_pos, **attention)
        return query

    def encode(self, pyramid: FlatPyramid) -> Tensor:
        """The pixels (B, S, C) of a pyramid after deformable attention to each other."""
        points = pyramid.reference_points()
        return self(pyramid.feats, pyramid.pos, reference_points=points, **pyramid.sampling())


class TransformerDecoder(LayerStack):
    """Decoder layers, with a norm on what each puts out.

    Args:
        post_norm_cfg: Norm of the outputs; None for none.
        return_intermediate: Put out what every layer says, not the last one alone.
        *args, **kwargs: As of ``LayerStack``; with ``cross_first`` layers attend to the image first.
    """

    layer = DecoderLayer

    def __init__(
        self, *args, post_norm_cfg: dict | None = LAYER_NORM, return_intermediate: bool = True, **kwargs
    ) -> None:
        super().__init__(*args, **kwargs)
        self.return_intermediate = return_intermediate
        self.post_norm = build_norm_layer(post_norm_cfg, self.embed_dims)[1] if post_norm_cfg else nn.Identity()

    def forward(self, query: Tensor, **inputs) -> list[Tensor]:
        """Queries (B, Q, C) after each layer; ``inputs`` are those of ``DecoderLayer``."""
        outputs = []
        for layer in self.layers:
            query = layer(query, **inputs)
            outputs.append(query)
        return [self.post_norm(output) for output in (outputs if self.return_intermediate else outputs[-1:])]


class DeformableDecoder(LayerStack):
    """Decoder layers that look around reference points, which each layer may refine.

    Args:
        post_norm_cfg: Must be None.
        return_intermediate: Put out what every layer says; must be True.
        pos_from_reference: Make the queries' positions from their reference boxes in every layer, and look forward
            twice: a layer's loss also trains the box of the layer before (DINO). Else positions are given.
        *args, **kwargs: As of ``LayerStack``.

    Raises:
        ValueError: ``post_norm_cfg`` is set or ``return_intermediate`` is False.
    """

    layer = DecoderLayer

    def __init__(
        self,
        *args,
        post_norm_cfg: dict | None = None,
        return_intermediate: bool = True,
        pos_from_reference: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(*args, deformable=True, **kwargs)
        if post_norm_cfg is not None or not return_intermediate:
            raise ValueError(
                f'a deformable decoder has no post_norm_cfg and returns all layers, got {post_norm_cfg} and '
                f'return_intermediate={return_intermediate}'
            )
        self.pos_from_reference = pos_from_reference
        if pos_from_reference:
            self.ref_point_head = MLP(self.embed_dims * 2, self.embed_dims, self.embed_dims, 2)
            self.norm = nn.LayerNorm(self.embed_dims)

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor | None,
        references: Tensor,
        pyramid: FlatPyramid,
        memory: Tensor,
        self_attn_mask: Tensor | None = None,
        reg_branches: Sequence[Callable[[Tensor], Tensor]] | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Decode.

        Args:
            query: (B, Q, C) content of the queries.
            query_pos: (B, Q, C) their positions, None where they are made from references.
            references: (B, Q, 2) x, y or (B, Q, 4) cx, cy, w, h in [0, 1].
            pyramid: What the queries look at.
            memory: (B, S, C) its pixels after the encoder.
            self_attn_mask: (Q, Q) True where a query must not look at another.
            reg_branches: For each layer what moves the references; None leaves them.

        Returns:
            Of each layer the queries (B, Q, C) and the references that its boxes are relative to.
        """
        hidden, given = [], []
        shown = references
        for i, layer in enumerate(self.layers):
            points = self._in_levels(references, pyramid.valid_ratios)
            if self.pos_from_reference:
                query_pos = self.ref_point_head(coordinate_to_encoding(points[:, :, 0], self.embed_dims // 2))
            query = layer(query, query_pos, self_attn_mask, value=memory, reference_points=points, **pyramid.sampling())
            hidden.append(self.norm(query) if self.pos_from_reference else query)
            given.append(shown)
            if reg_branches is not None:
                moved = move(references, reg_branches[i](query), 1e-3 if self.pos_from_reference else 1e-5)
                references = moved.detach()
                shown = moved if self.pos_from_reference else references
        return hidden, given

    @staticmethod
    def _in_levels(references: Tensor, valid_ratios: Tensor) -> Tensor:
        """(B, Q, L, 2 or 4) references as shares of each level, padding included."""
        return references[:, :, None] * valid_ratios.repeat(1, 1, references.shape[-1] // 2)[:, None]


def move(references: Tensor, deltas: Tensor, eps: float = 1e-5) -> Tensor:
    """Boxes (..., 4) in [0, 1]: references (..., 2) or (..., 4) moved by ``deltas`` (..., 4) before the sigmoid."""
    start = inverse_sigmoid(references, eps)
    if start.shape[-1] == 2:
        start = torch.cat([start, torch.zeros_like(start)], dim=-1)
    return (deltas + start).sigmoid()


def flatten_pyramid(
    feats: Sequence[Tensor],
    masks: Tensor | None,
    encoding: Callable[..., Tensor],
    level_embed: Tensor | None,
) -> FlatPyramid:
    """Put the levels of a pyramid in a row.

    Args:
        feats: Maps (B, C, H_i, W_i).
        masks: (B, H, W) True for padding of the images; None where there is none.
        encoding: Positional encoding of a mask.
        level_embed: (L, C) added to the encoding of each level; None for none.

    Raises:
        ValueError: There is another number of maps than of level embeddings.
    """
    if level_embed is not None and len(level_embed) != len(feats):
        raise ValueError(f'the pyramid has {len(feats)} maps, the transformer is built for {len(level_embed)} levels')
    rows, positions, level_masks = [], [], []
    for i, feat in enumerate(feats):
        mask = padding_at(masks, feat.shape[-2:])
        pos = encoding(mask, input=feat).flatten(2).transpose(1, 2)
        rows.append(feat.flatten(2).transpose(1, 2))
        positions.append(pos if level_embed is None else pos + level_embed[i])
        level_masks.append(mask)
    sizes = [tuple(feat.shape[-2:]) for feat in feats]
    shapes = torch.tensor(sizes, device=feats[0].device)
    starts = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]])
    if masks is None:
        flat_mask, ratios = None, feats[0].new_ones(len(feats[0]), len(feats), 2)
    else:
        flat_mask = torch.cat([mask.flatten(1) for mask in level_masks], dim=1)
        ratios = torch.stack([_valid_ratio(mask) for mask in level_masks], dim=1).to(feats[0].dtype)
    return FlatPyramid(torch.cat(rows, 1), torch.cat(positions, 1), flat_mask, sizes, shapes, starts, ratios)


def padding_at(masks: Tensor | None, size: tuple[int, int]) -> Tensor | None:
    """(B, h, w) True for padding, at the ``size`` of a map, of ``masks`` (B, H, W); None where there is none."""
    if masks is None:
        return None
    return nn.functional.interpolate(masks[None].float(), size=size).bool()[0]


def _valid_ratio(mask: Tensor) -> Tensor:
    """(B, 2) the share of width and height that is image, of masks (B, H, W) that are True for padding."""
    image = ~mask
    return torch.stack([image[:, 0].float().mean(1), image[:, :, 0].float().mean(1)], dim=-1)
