"""Generalized attention block."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._checks import check_float, check_shape
from .layer_configs import fill_bias

_WAVE_LENGTH = 1000.0  # base of the periods of the position embedding, as in Relation Networks (arXiv 1711.11575)


class GeneralizedAttention(nn.Module):
    """Attention of four terms (An Empirical Study of Spatial Attention Mechanisms in Deep Networks, arXiv 1904.05873).

    Args:
        in_channels: Channels c of the input.
        spatial_range: How many pixels, along each axis, a pixel may attend to; -1 for all.
        num_heads: Number of heads, each of ``in_channels // num_heads`` channels.
        position_embedding_dim: Channels of the embedding of relative positions; -1 takes ``in_channels``.
        position_magnitude: Factor of relative positions.
        kv_stride: Only each ``kv_stride``-th pixel along each axis is attended to.
        q_stride: Only each ``q_stride``-th pixel along each axis attends; the others are interpolated.
        attention_type: Of the terms, which count (1) and which do not (0): query and key content, query content and
            relative position, key content only, relative position only.

    Raises:
        ValueError: ``attention_type`` is not four digits 0 or 1 with a 1 among them, a number is not positive, there
            are more heads than channels, or ``position_embedding_dim`` is no multiple of 4 where positions count.
    """

    _abbr_ = 'gen_attention_block'  # its name in a backbone that takes it as a plugin

    def __init__(
        self,
        in_channels: int,
        spatial_range: int = -1,
        num_heads: int = 9,
        position_embedding_dim: int = -1,
        position_magnitude: int = 1,
        kv_stride: int = 2,
        q_stride: int = 1,
        attention_type: str = '1111',
    ) -> None:
        super().__init__()
        if len(attention_type) != 4 or set(attention_type) not in ({'1'}, {'0', '1'}):
            raise ValueError(
                f"GeneralizedAttention: attention_type is {attention_type!r}, four digits 0 or 1 such as '0010' are "
                'expected'
            )
        self.in_channels = in_channels
        self.spatial_range = spatial_range
        self.num_heads = num_heads
        self.position_embedding_dim = position_embedding_dim if position_embedding_dim > 0 else in_channels
        self.position_magnitude = position_magnitude
        self.kv_stride = kv_stride
        self.q_stride = q_stride
        self.attention_type = [digit == '1' for digit in attention_type]
        self._check_numbers()
        self._add_layers()
        self.init_weights()

    def _check_numbers(self) -> None:
        op = 'GeneralizedAttention'
        for name in ('num_heads', 'kv_stride', 'q_stride'):
            if getattr(self, name) < 1:
                raise ValueError(f'{op}: {name} is {getattr(self, name)}, a positive number is expected')
        if self.num_heads > self.in_channels:
            raise ValueError(f'{op}: num_heads is {self.num_heads}, at most {self.in_channels} is expected')
        _, query_position, _, position_only = self.attention_type
        # a remainder of 1 is harmless: dim // 2 inputs of a layer are 2 * (dim // 4) sines and cosines all the same
        if (query_position or position_only) and self.position_embedding_dim % 4 > 1:
            raise ValueError(
                f'{op}: position_embedding_dim is {self.position_embedding_dim}, a multiple of 4 is expected'
            )

    def _add_layers(self) -> None:
        content, query_position, key_only, position_only = self.attention_type
        dim = self.in_channels // self.num_heads
        channels = dim * self.num_heads
        if content or query_position:
            self.query_conv = nn.Conv2d(self.in_channels, channels, 1, bias=False)
        if content or key_only:
            self.key_conv = nn.Conv2d(self.in_channels, channels, 1, bias=False)
        self.value_conv = nn.Conv2d(self.in_channels, channels, 1, bias=False)
        if query_position or position_only:
            self.appr_geom_fc_x = nn.Linear(self.position_embedding_dim // 2, channels, bias=False)
            self.appr_geom_fc_y = nn.Linear(self.position_embedding_dim // 2, channels, bias=False)
        bound = (2 * dim) ** -0.5
        if key_only:
            self.appr_bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))
        if position_only:
            self.geom_bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))
        self.proj_conv = nn.Conv2d(channels, self.in_channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def init_weights(self) -> None:
        """Uniform Kaiming initialization of the convolutions and linear layers."""
        for layer in self.children():
            nn.init.kaiming_uniform_(layer.weight, a=1)
            fill_bias(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` (n, in_channels, h, w) with what its pixels attend to.

        Raises:
            TypeError, ValueError: ``x`` is no floating tensor of that shape.
        """
        check_float('GeneralizedAttention', 'x', x)
        check_shape('GeneralizedAttention', 'x', x, ('n', self.in_channels, 'h', 'w'))
        queries = x[:, :, :: self.q_stride, :: self.q_stride]
        keys = x[:, :, :: self.kv_stride, :: self.kv_stride]
        energy = self._energy(queries, keys)
        if self.spatial_range >= 0:
            energy = torch.where(self._in_range(queries, keys), energy, float('-inf'))
        out = energy.softmax(dim=-1) @ self._heads(self.value_conv(keys))
        size = queries.shape[2:] if out.shape[2] > 1 else (1, 1)
        out = self.proj_conv(out.transpose(2, 3).flatten(1, 2).unflatten(2, size))
        if self.q_stride > 1 and out.shape[2:] != (1, 1):
            out = F.interpolate(out, size=x.shape[2:], mode='bilinear', align_corners=False)
        return self.gamma * out + x

    def _heads(self, x: Tensor) -> Tensor:
        """(n, heads * dim, h, w) as (n, heads, h * w, dim)."""
        return x.flatten(2).unflatten(1, (self.num_heads, x.shape[1] // self.num_heads)).transpose(2, 3)

    def _energy(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(n, heads, q, k); q is 1 where no term depends on the query."""
        content, query_position, key_only, position_only = self.attention_type
        embedded = self._heads(self.query_conv(queries)) if content or query_position else 0
        energy = 0
        if content or key_only:
            bias = self.appr_bias.view(self.num_heads, 1, -1) if key_only else 0
            energy = (bias + (embedded if content else 0)) @ self._heads(self.key_conv(keys)).transpose(2, 3)
        if query_position or position_only:
            bias = self.geom_bias.view(self.num_heads, 1, -1) if position_only else 0
            query = bias + (embedded if query_position else queries.new_zeros(1, 1, queries.shape[2:].numel(), 1))
            energy = energy + self._position_energy(query, queries, keys)
        return energy

    def _position_energy(self, query: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        height, width = queries.shape[2:]
        key_height, key_width = keys.shape[2:]
        query = query.unflatten(2, (height, width)) * 0.5**0.5  # the sum of two terms keeps the variance of one
        along_y = self.appr_geom_fc_y(self._embed_offsets(height, key_height, query))
        along_x = self.appr_geom_fc_x(self._embed_offsets(width, key_width, query))
        along_y, along_x = (feature.unflatten(-1, (self.num_heads, -1)) for feature in (along_y, along_x))
        energy_y = torch.einsum('nmhwc,hkmc->nmhwk', self._queries_along_y(query), along_y)
        energy_x = torch.einsum('nmhwc,wkmc->nmhwk', query, along_x)
        return (energy_y[..., :, None] + energy_x[..., None, :]).flatten(4).flatten(2, 3)

    def _queries_along_y(self, query: Tensor) -> Tensor:
        """The queries (n, heads, h, w, dim) that are compared with offsets along y.

        With the term of query content and position alone, the implementation that published weights (GRoIE) come from
        takes rows for columns here, which square maps permit: weights trained so need it.
        """
        _, query_position, _, position_only = self.attention_type
        is_square = query.shape[2] == query.shape[3]
        return query.transpose(2, 3) if query_position and not position_only and is_square else query

    def _embed_offsets(self, queries: int, keys: int, like: Tensor) -> Tensor:
        """Sines and cosines of how far each key is from each query along an axis, (queries, keys, dim / 2)."""
        dim = self.position_embedding_dim
        first = torch.arange(queries, device=like.device)[:, None] * self.q_stride
        offsets = (first - torch.arange(keys, device=like.device) * self.kv_stride) * self.position_magnitude
        dtype = torch.promote_types(like.dtype, torch.float32)
        periods = _WAVE_LENGTH ** (torch.arange(dim // 4, device=like.device, dtype=dtype) * (4.0 / dim))
        angles = offsets[..., None] / periods
        return torch.cat([angles.sin(), angles.cos()], dim=-1).to(like.dtype)

    def _in_range(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(q, k): whether a key, or a pixel that it stands for, is within `spatial_range` of a query."""
        near = []
        for count, key_count in zip(queries.shape[2:], keys.shape[2:]):
            position = torch.arange(count, device=keys.device)[:, None] * self.q_stride
            key = torch.arange(key_count, device=keys.device)
            first = (position - self.spatial_range).div(self.kv_stride, rounding_mode='floor')
            near.append((key >= first) & (key <= (position + self.spatial_range) // self.kv_stride))
        rows, columns = near
        return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(2).flatten(0, 1)
