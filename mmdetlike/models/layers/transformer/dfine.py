"""The decoder of D-FINE, arXiv 2410.13842: the edges of boxes are distributions that every layer refines."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, constant_init
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike_ops import ms_deform_attn

from ..part import build_part
from .deformable import RTDETRDecoder
from .detr_layers import ATTENTION, AttentionMask, DecoderLayer, refine_references
from .ffn import MLP
from .pyramid import FlatPyramid

# what is added to queries stays in this range, as published weights were trained with
POSITION_LIMIT = 10.0


class EdgeOffsets(nn.Module):
    """The offsets that the bins of an edge's distribution stand for: the weighting function W(n) of the paper.

    Offsets are in widths or heights of the box that is refined. They are dense around 0, so that the last layers can
    move an edge by little, and sparse far away.

    Args:
        num_bins: N, an even number of at least 4, else ``ConfigError``; there are N + 1 bins.
        up: a, the largest offset but for the first and the last bin, which stand for twice as much.
        reg_scale: 1 / c, the curvature: the larger, the denser offsets are around 0. As ``up``, positive, else
            ``ConfigError``.
    """

    def __init__(self, num_bins: int = 32, up: float = 0.5, reg_scale: float = 4.0) -> None:
        super().__init__()
        if num_bins < 4 or num_bins % 2:
            raise ConfigError(f'num_bins must be an even number of at least 4, got {num_bins}')
        if up <= 0 or reg_scale <= 0:
            raise ConfigError(f'up and reg_scale must be positive, got up={up} and reg_scale={reg_scale}')
        self.num_bins = num_bins
        half = num_bins // 2
        # exponents 0 to 1: the curve goes through 0 in the middle and reaches `up` at the last bin but one
        exponents = torch.arange(half, dtype=torch.float64) / (half - 1)
        rising = ((up * reg_scale + 1) ** exponents - 1) / reg_scale
        rising = torch.cat([rising, rising.new_tensor([2 * up])])
        values = torch.cat([-rising.flip(0), rising[1:]]).float()
        self.register_buffer('values', values, persistent=False)

    def expect(self, logits: Tensor) -> Tensor:
        """The offsets (..., 4) that logits of the bins (..., 4, N + 1) mean."""
        # no matrix product, which autocast would run in half precision
        return (logits.softmax(-1) * self.values).sum(-1)

    def move_edges(self, boxes: Tensor, offsets: Tensor) -> Tensor:
        """Boxes (..., 4) cx, cy, w, h whose left, top, right and bottom edges move outward by offsets (..., 4)."""
        near, far = offsets.chunk(2, dim=-1)
        centers, sizes = boxes.chunk(2, dim=-1)
        return torch.cat([centers + (far - near) / 2 * sizes, (1 + near + far) * sizes], dim=-1)

    def between(self, boxes: Tensor, targets: Tensor) -> Tensor:
        """The offsets (..., 4) that turn ``boxes`` (..., 4) cx, cy, w, h into ``targets`` (..., 4)."""
        centers, sizes = boxes.chunk(2, dim=-1)
        target_centers, target_sizes = targets.chunk(2, dim=-1)
        shift = target_centers - centers
        growth = (target_sizes - sizes) / 2
        # a box without width or height reaches nothing: its target is the last bin, not a NaN
        unit = torch.cat([sizes, sizes], dim=-1).clamp(min=1e-8)
        return torch.cat([growth - shift, growth + shift], dim=-1) / unit

    def locate(self, offsets: Tensor) -> Tensor:
        """Where offsets lie among the bins, fractions in [0, N]; those out of reach are at the first or last bin."""
        right = torch.bucketize(offsets.detach(), self.values.to(offsets.dtype)).clamp(1, self.num_bins)
        low = self.values[right - 1]
        high = self.values[right]
        share = (offsets - low) / (high - low)
        return right - 1 + share.clamp(0, 1)


@dataclass
class RefinedBoxes:
    """The boxes of queries after a decoder layer.

    Attributes:
        initial: (B, Q, 4) cx, cy, w, h in [0, 1] that the edges' offsets are relative to.
        logits: (B, Q, 4, N + 1) of the bins of ``EdgeOffsets``, of the left, top, right and bottom edge.
        boxes: (B, Q, 4) what they amount to.
    """

    initial: Tensor
    logits: Tensor
    boxes: Tensor


class UnevenDeformableAttention(BaseModule):
    """Attention to a few points around a reference box, more of them in some levels of the pyramid than in others.

    Values are the pixels as they are, and the output is not projected either.

    Args:
        embed_dims, num_heads: Channels of queries and pixels, and attention heads, which divide them.
        num_levels: Levels of the pyramid.
        num_points: Points of each query and head: in every level, or a number for each; else ``ConfigError``.
        dropout, batch_first: Must be 0 and True; accepted since other attentions have them.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_levels: int = 3,
        num_points: int | Sequence[int] = 4,
        dropout: float = 0.0,
        batch_first: bool = True,
    ) -> None:
        super().__init__()
        points = [num_points] * num_levels if isinstance(num_points, int) else list(num_points)
        if len(points) != num_levels or min(points) < 1:
            raise ConfigError(f'num_points must be one of each of {num_levels} levels, at least 1, got {num_points}')
        if embed_dims % num_heads:
            raise ConfigError(f'embed_dims must be a multiple of num_heads={num_heads}, got {embed_dims}')
        if dropout or not batch_first:
            raise ConfigError(f'no dropout and batch_first=True are expected, got {dropout} and {batch_first}')
        self.embed_dims, self.num_heads, self.num_points = embed_dims, num_heads, points
        self.sampling_offsets = nn.Linear(embed_dims, num_heads * sum(points) * 2)
        self.attention_weights = nn.Linear(embed_dims, num_heads * sum(points))

    @torch.no_grad()
    def init_weights(self) -> None:
        """Start with equal attention to points 1, 2, ... steps away, in another direction for each head."""
        angles = torch.arange(self.num_heads) * (2 * torch.pi / self.num_heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions /= directions.abs().amax(dim=-1, keepdim=True)
        steps = torch.cat([torch.arange(1, count + 1) for count in self.num_points])
        self.sampling_offsets.bias.copy_((directions[:, None] * steps[:, None]).flatten())
        nn.init.zeros_(self.sampling_offsets.weight)
        constant_init(self.attention_weights, 0)

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        query_pos: Tensor,
        reference_points: Tensor,
        spatial_shapes: Tensor,
        level_start_index: Tensor,
        key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        """What queries (B, Q, C) at positions (B, Q, C) read from the pixels ``value`` (B, S, C), (B, Q, C).

        ``reference_points`` (B, Q, levels, 4) are cx, cy, w, h in [0, 1]; the rest as of
        ``MultiScaleDeformableAttention``.
        """
        query = query + query_pos
        if key_padding_mask is not None:
            value = value.masked_fill(key_padding_mask[..., None], 0.0)
        heads = (self.num_heads, sum(self.num_points))
        weights = self.attention_weights(query).unflatten(-1, heads).softmax(-1)
        offsets = self.sampling_offsets(query).unflatten(-1, (*heads, 2))
        locations = []
        for level, steps in enumerate(offsets.split(self.num_points, dim=3)):
            centers, sizes = reference_points[:, :, level, None, None].chunk(2, dim=-1)
            locations.append(centers + steps * sizes * (0.5 / self.num_points[level]))
        return ms_deform_attn(
            value.unflatten(-1, (self.num_heads, -1)),
            spatial_shapes,
            level_start_index,
            pad_points(locations),
            pad_points([part[..., None] for part in weights.split(self.num_points, dim=3)]).squeeze(-1),
        )


def pad_points(levels: Sequence[Tensor]) -> Tensor:
    """Stack (B, Q, heads, points, C) of each level into (B, Q, heads, levels, most points, C), padded with zeros."""
    # the kernel takes as many points of every level; those of weight 0 cost a little and add nothing
    most = max(level.shape[3] for level in levels)
    return torch.stack([F.pad(level, (0, 0, 0, most - level.shape[3])) for level in levels], dim=3)


class TargetGate(BaseModule):
    """Let queries decide, channel by channel, what they keep of themselves and what they take from the image.

    A shortcut would tie a query to what it looked at before; this lets it turn to another object.
    """

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * embed_dims, 2 * embed_dims)

    def init_weights(self) -> None:
        """Start with half of both."""
        constant_init(self.gate, 0)

    def forward(self, query: Tensor, attended: Tensor) -> Tensor:
        """Mix (B, Q, C) and (B, Q, C)."""
        keep, take = self.gate(torch.cat([query, attended], dim=-1)).sigmoid().chunk(2, dim=-1)
        return keep * query + take * attended


class DFINEDecoderLayer(DecoderLayer):
    """A decoder layer whose queries read the image by ``UnevenDeformableAttention`` through a ``TargetGate``."""

    def __init__(
        self,
        self_attn_cfg: dict | None = None,
        cross_attn_cfg: dict | None = None,
        ffn_cfg: dict | None = None,
        norm_cfg: dict = {'type': 'LN'},  # noqa: B006
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(self_attn_cfg, cross_attn_cfg, ffn_cfg, norm_cfg, init_cfg)
        self.gate = TargetGate(self.embed_dims)

    def build_cross_attention(self, cfg: dict | None) -> nn.Module:
        return build_part(cfg, UnevenDeformableAttention, ATTENTION)

    def forward(self, query: Tensor, query_pos: Tensor, self_attn_mask: Tensor | None = None, **cross) -> Tensor:
        query = self.norms[0](self.attend_to_queries(query, query_pos, self_attn_mask))
        attended = self.cross_attn(query, query_pos=query_pos, **cross)
        query = self.norms[1](self.gate(query, attended))
        return self.norms[2](self.ffn(query))


class DFINEDecoder(RTDETRDecoder):
    """A decoder whose first layer predicts boxes, the edges of which all layers refine as distributions.

    Args:
        num_layers, layer_cfg: As of ``LayerStack``.
        offsets: What the bins of the distributions stand for.
    """

    layer_class = DFINEDecoderLayer

    def __init__(
        self, num_layers: int, layer_cfg: dict | Sequence[dict], offsets: EdgeOffsets, init_cfg: dict | None = None
    ) -> None:
        super().__init__(num_layers, layer_cfg, init_cfg=init_cfg)
        self.offsets = offsets
        self.initial_box = MLP(self.embed_dims, self.embed_dims, 4, 3)

    def init_weights(self) -> None:
        """The first layer's boxes begin as the proposals."""
        super().init_weights()
        constant_init(self.initial_box.layers[-1], 0)

    def query_positions(self, layer: int, query_pos: Tensor | None, references: Tensor, pyramid: FlatPyramid) -> Tensor:
        """The reference boxes (B, Q, 4), mapped to the width of queries, no number beyond ``POSITION_LIMIT``."""
        positions = super().query_positions(layer, query_pos, references, pyramid)
        return positions.clamp(-POSITION_LIMIT, POSITION_LIMIT)

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor | None,
        references: Tensor,
        pyramid: FlatPyramid,
        memory: Tensor,
        self_attn_mask: AttentionMask = None,
        reg_branches: Sequence[nn.Module] = (),
    ) -> tuple[list[Tensor], list[RefinedBoxes]]:
        """As ``TransformerDecoder.forward``, with the boxes of each layer in place of references.

        ``reg_branches`` map queries of a layer to changes of the logits of their edges, (B, Q, 4 * (N + 1)).
        """
        hidden_states, refined = [], []
        initial = None
        logits = before = 0.0
        for i, layer in enumerate(self.layers):
            pos = self.query_positions(i, query_pos, references, pyramid)
            image = self.attention_inputs(i, query, references, pyramid, memory)
            query = layer(query, pos, self_attn_mask, **image)
            if initial is None:
                initial = refine_references(references, self.initial_box(query))
            # the branch sees what the layer before put out, too; that layer doesn't learn from it
            logits = logits + reg_branches[i](query + before).unflatten(-1, (4, -1))
            boxes = self.offsets.move_edges(initial.detach(), self.offsets.expect(logits))
            hidden_states.append(query)
            refined.append(RefinedBoxes(initial, logits, boxes))
            references = boxes.detach()
            before = query.detach()
        return hidden_states, refined
