"""The decoder of RT-DETR, arXiv 2304.08069, and of RT-DETRv2, arXiv 2407.17140."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike_ops import MultiScaleDeformableAttention

from .deformable import DeformableDecoder, DeformableDecoderLayer, refine_references
from .detr_layers import ATTENTION
from .ffn import MLP
from .pyramid import FlatPyramid


class DiscreteDeformableAttention(MultiScaleDeformableAttention):
    """Deformable attention to whole pixels, which asks runtimes for no interpolation (RT-DETRv2, arXiv 2407.17140).

    Sampling offsets get no gradient: a detector is trained with interpolation, and then for a while with this.
    """

    def sample(
        self, value: Tensor, spatial_shapes: Tensor, level_start_index: Tensor, locations: Tensor, weights: Tensor
    ) -> Tensor:
        """Add up pixels of `value` (b, s, h, c) next to `locations` (b, q, h, l, p, 2) by their weights."""
        sizes = spatial_shapes.flip(1)[:, None]
        # the pixel whose index is nearest to the location, as published weights were tuned with
        columns, rows = (locations * sizes + 0.5).long().clamp(min=0).minimum(sizes - 1).unbind(-1)
        indices = rows * sizes[..., 0] + columns + level_start_index[:, None]
        pixels = value.transpose(1, 2)
        batch, queries, heads, _, _ = indices.shape
        order = indices.transpose(1, 2).reshape(batch, heads, -1, 1).expand(-1, -1, -1, value.shape[-1])
        sampled = pixels.gather(2, order).unflatten(2, (queries, -1))
        weighted = sampled * weights.transpose(1, 2).flatten(3)[..., None]
        return weighted.sum(3).transpose(1, 2).flatten(2)


SAMPLING = dict(default=MultiScaleDeformableAttention, discrete=DiscreteDeformableAttention)


class RTDETRDecoderLayer(DeformableDecoderLayer):
    """A decoder layer whose ``cross_attn_cfg`` may say ``method='discrete'``: see ``DiscreteDeformableAttention``."""

    def build_cross_attention(self, cfg: dict) -> nn.Module:
        """Multi-scale deformable attention, with interpolation unless ``method`` says otherwise.

        Raises:
            ConfigError: ``method`` is unknown.
        """
        settings = {**ATTENTION, **cfg, 'batch_first': True}
        method = settings.pop('method', 'default')
        if method not in SAMPLING:
            raise ConfigError(f'method of cross_attn_cfg must be one of {sorted(SAMPLING)}, got {method!r}')
        return SAMPLING[method](**settings)


class RTDETRDecoder(DeformableDecoder):
    """A decoder that makes the positions of queries from the four numbers of their boxes, and looks forward twice.

    Args:
        num_layers: Number of layers.
        layer_cfg: Arguments of the layers, see ``LayerStack``.
        init_cfg: Weight initialization.
    """

    layer_class = RTDETRDecoderLayer

    def __init__(self, num_layers: int, layer_cfg: dict | Sequence[dict], init_cfg: dict | None = None) -> None:
        super().__init__(num_layers, layer_cfg, init_cfg=init_cfg)
        self.ref_point_head = MLP(4, self.embed_dims * 2, self.embed_dims, 2)

    def query_positions(self, layer: int, query_pos: Tensor | None, references: Tensor, pyramid: FlatPyramid) -> Tensor:
        """The reference boxes (B, Q, 4), mapped to the width of queries."""
        return self.ref_point_head(references)

    def next_references(self, references: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
        """Refined boxes; looking forward twice, a layer's loss also trains the box that the layer before refined."""
        refined = refine_references(references, deltas)
        return refined.detach(), refined


def grid_encoding(x: Tensor, temperature: float = 10000) -> Tensor:
    """Where the pixels of a map (B, C, h, w) are: (1, h * w, C).

    Sines, then cosines of the row, then of the column, a quarter of the channels each; rows and columns count from 0.

    Raises:
        ValueError: C is no multiple of 4.
    """
    channels, height, width = x.shape[-3:]
    if channels % 4:
        raise ValueError(f'positions in {channels} channels are asked for, a multiple of 4 is expected')
    index = torch.arange(channels // 4, dtype=torch.float32, device=x.device)
    frequencies = temperature ** (-index / (channels // 4))
    rows = torch.arange(height, device=x.device)[:, None] * frequencies
    columns = torch.arange(width, device=x.device)[:, None] * frequencies
    of_rows = torch.cat([rows.sin(), rows.cos()], dim=-1)[:, None].expand(-1, width, -1)
    of_columns = torch.cat([columns.sin(), columns.cos()], dim=-1)[None].expand(height, -1, -1)
    return torch.cat([of_rows, of_columns], dim=-1).flatten(0, 1)[None].to(x.dtype)
