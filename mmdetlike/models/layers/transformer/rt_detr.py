"""The decoder of RT-DETR: DETRs Beat YOLOs on Real-time Object Detection, arXiv 2304.08069."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .deformable import DeformableDecoder, refine_references
from .ffn import MLP
from .pyramid import FlatPyramid


class RTDETRDecoder(DeformableDecoder):
    """A decoder that makes the positions of queries from the four numbers of their boxes, and looks forward twice.

    Args:
        num_layers: Number of layers.
        layer_cfg: Arguments of the layers, see ``LayerStack``.
        init_cfg: Weight initialization.
    """

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
