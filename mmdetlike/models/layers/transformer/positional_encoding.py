"""Positional encodings: where a pixel, a point or a box is, as a vector."""

import math

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from ..part import build_part


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """The logit of ``x``, which is clamped to [0, 1] and whose odds are kept from 0 and infinity by ``eps``."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


def sine_encoding(position: Tensor, num_feats: int, temperature: float = 10000) -> Tensor:
    """Sines and cosines of ``position`` (...) at descending frequencies, alternating, (..., num_feats)."""
    index = torch.arange(num_feats, dtype=torch.float32, device=position.device)
    # a sine and a cosine share each frequency, hence index // 2
    angle = position[..., None] / temperature ** (2 * (index // 2) / num_feats)
    return torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1).flatten(-2)


def coordinate_to_encoding(
    coord_tensor: Tensor, num_feats: int = 128, temperature: int = 10000, scale: float = 2 * math.pi
) -> Tensor:
    """Sine encodings of points or boxes.

    Args:
        coord_tensor: (..., 2) x and y or (..., 4) cx, cy, w, h, normalized to [0, 1]; ``ValueError`` for other shapes.
        num_feats: Features of each coordinate, even.
        temperature: Ratio of the longest to the shortest wave length.
        scale: Factor of the coordinates.

    Returns:
        (..., 2 * num_feats) for points, of y, then x; (..., 4 * num_feats) for boxes, of cy, cx, w, h.
    """
    if coord_tensor.shape[-1] not in (2, 4):
        raise ValueError(f'coord_tensor must be (..., 2) or (..., 4), but got {tuple(coord_tensor.shape)}.')
    # y first, as the encodings of pixels have it, which these are compared with; sizes were added by DAB-DETR as w, h
    order = [1, 0, 2, 3][: coord_tensor.shape[-1]]
    encodings = [sine_encoding(coord_tensor[..., i] * scale, num_feats, temperature) for i in order]
    return torch.cat(encodings, dim=-1)


def grid_encoding(x: Tensor, temperature: float = 10000) -> Tensor:
    """Where the pixels of a map (B, C, h, w) are: (1, h * w, C).

    Sines, then cosines of the row, then of the column, a quarter of the channels each; rows and columns count from 0.
    ``ValueError`` if C is no multiple of 4.
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


@MODELS.register_module()
class SinePositionalEncoding(BaseModule):
    """Sine encodings of the pixels of a map (DETR, arXiv 2005.12872).

    Args:
        num_feats: Features of each axis, even.
        temperature: Ratio of the longest to the shortest wave length.
        normalize: Whether positions are divided by the size of the image within the map.
        scale: Factor of normalized positions.
        eps: Added to the divisor.
        offset: Added to positions before they are normalized; -0.5 for centers of pixels.
        init_cfg: Weight initialization, of no effect.
    """

    def __init__(
        self,
        num_feats: int,
        temperature: int = 10000,
        normalize: bool = False,
        scale: float = 2 * math.pi,
        eps: float = 1e-6,
        offset: float = 0.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_feats, self.temperature, self.normalize = num_feats, temperature, normalize
        self.scale, self.eps, self.offset = scale, eps, offset

    def forward(self, mask: Tensor | None, input: Tensor | None = None) -> Tensor:
        """Encode the pixels of a map, counted from 1 within each image: (B, 2 * num_feats, H, W), of y, then x.

        The result is in float32; ``ValueError`` where neither ``mask`` nor ``input`` is given.

        Args:
            mask: (B, H, W), not zero where there is padding and no image; None for no padding, given ``input``.
            input: A feature map (B, C, H, W) of that size, on its device.
        """
        if mask is None:
            if input is None:
                raise ValueError('SinePositionalEncoding needs a mask or an input to know the size of the map.')
            return self._unpadded(*input.shape[-2:], input.device).expand(input.shape[0], -1, -1, -1)
        inside = mask == 0
        y = self._scaled(inside.cumsum(1, dtype=torch.float32), 1)
        x = self._scaled(inside.cumsum(2, dtype=torch.float32), 2)
        encodings = [sine_encoding(position, self.num_feats, self.temperature) for position in (y, x)]
        return torch.cat(encodings, dim=3).permute(0, 3, 1, 2)

    def _unpadded(self, height: int, width: int, device: torch.device) -> Tensor:
        """(2 * num_feats, H, W), each row and each column encoded once."""
        encodings = []
        for length in (height, width):
            position = torch.arange(1, length + 1, dtype=torch.float32, device=device)
            encodings.append(sine_encoding(self._scaled(position, 0), self.num_feats, self.temperature).T)
        y, x = encodings
        return torch.cat([y[:, :, None].expand(-1, -1, width), x[:, None].expand(-1, height, -1)])

    def _scaled(self, position: Tensor, dim: int) -> Tensor:
        if not self.normalize:
            return position
        # the last pixel of the image, not of the padding, whose position doesn't go on counting
        last = position.narrow(dim, position.shape[dim] - 1, 1)
        return (position + self.offset) / (last + self.eps) * self.scale

    def extra_repr(self) -> str:
        names = ('num_feats', 'temperature', 'normalize', 'scale', 'eps', 'offset')
        return ', '.join(f'{name}={getattr(self, name)}' for name in names)


@MODELS.register_module()
class LearnedPositionalEncoding(BaseModule):
    """A learnable embedding of each row and each column.

    Args:
        num_feats: Features of each axis.
        row_num_embed, col_num_embed: Largest height and width of a feature map; a larger one raises ``ValueError``.
    """

    def __init__(
        self,
        num_feats: int,
        row_num_embed: int = 50,
        col_num_embed: int = 50,
        init_cfg: dict | None = {'type': 'Uniform', 'layer': 'Embedding'},  # noqa: B006
    ) -> None:
        super().__init__(init_cfg)
        self.num_feats, self.row_num_embed, self.col_num_embed = num_feats, row_num_embed, col_num_embed
        self.row_embed = nn.Embedding(row_num_embed, num_feats)
        self.col_embed = nn.Embedding(col_num_embed, num_feats)

    def forward(self, mask: Tensor | None, input: Tensor | None = None) -> Tensor:
        """Encode the pixels of a map, (B, 2 * num_feats, H, W), of the column, then the row.

        The map is as large as ``mask`` (B, H, W) or, where that is None, as ``input`` (B, C, H, W). ``ValueError``
        where both are None, and for a larger map than there are embeddings.
        """
        like = input if mask is None else mask
        if like is None:
            raise ValueError('LearnedPositionalEncoding needs a mask or an input to know the size of the map.')
        height, width = like.shape[-2:]
        if height > self.row_num_embed or width > self.col_num_embed:
            raise ValueError(
                f'A map of {height}x{width} needs as many embeddings, but there are row_num_embed={self.row_num_embed} '
                f'and col_num_embed={self.col_num_embed}.'
            )
        columns = self.col_embed.weight[:width].t()[:, None].expand(-1, height, -1)
        rows = self.row_embed.weight[:height].t()[:, :, None].expand(-1, -1, width)
        return torch.cat([columns, rows]).expand(len(like), -1, -1, -1)


def build_positional_encoding(cfg: dict | None, embed_dims: int) -> nn.Module:
    """The encoding of the pixels that a transformer with ``embed_dims`` channels sees, by default one of sines.

    Another ``num_feats`` than half of ``embed_dims`` is a ``ConfigError``.
    """
    num_feats = (cfg or {}).get('num_feats', embed_dims // 2)
    # one half of the channels encodes the row, the other one the column
    if num_feats * 2 != embed_dims:
        raise ConfigError(
            f'positional_encoding.num_feats must be half of the {embed_dims} channels of the transformer, '
            f'got {num_feats}'
        )
    return build_part(cfg, SinePositionalEncoding, dict(num_feats=num_feats))
