"""Multi-scale deformable attention: the function over its kernels and the module."""

import math

import torch
from torch import Tensor, nn

from ._checks import check_device, check_floating, check_vector
from ._library import kernels, register_backward


@torch.library.register_fake('mmdetlike_ops::ms_deform_attn')
def _fake_attention(value, shapes, starts, locations, attention):
    return value.new_empty(value.shape[0], locations.shape[1], value.shape[2] * value.shape[3])


@torch.library.register_fake('mmdetlike_ops::ms_deform_attn_backward')
def _fake_backward(grad, value, shapes, starts, locations, attention, deterministic):
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (value, locations, attention))


def _setup_context(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _backward(ctx, grad):
    deterministic = torch.are_deterministic_algorithms_enabled()
    grad_value, *grads = kernels.ms_deform_attn_backward(grad, *ctx.saved_tensors, deterministic)
    return grad_value, None, None, *grads


register_backward('ms_deform_attn', _backward, _setup_context)


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int = 64,
) -> Tensor:
    """Sum a few bilinear samples of every level for each query and head (Deformable DETR, arXiv 2010.04159).

    Args:
        value: (b, s, h, c), the s pixels of all levels, one level after the other, with c channels for each of h heads.
        spatial_shapes: (l, 2), height and width of each level, integers; on any device.
        level_start_index: (l,), index of the first pixel of each level, integers; on any device.
        sampling_locations: (b, q, h, l, p, 2), x and y of each sample, normalized: a level spans 0..1 along both axes.
            Values outside a level, pixel by pixel, count as 0; a NaN location gives 0.
        attention_weights: (b, q, h, l, p), weight of each sample. Neither these nor the locations need the dtype of
            `value`: both are used in float32 (float64 if `value` is).
        im2col_step: Accepted for callers that pass it; the kernels need no such chunks.

    Returns:
        (b, q, h * c), of the dtype of `value`.

    Raises:
        TypeError, ValueError: An argument has a wrong type, shape or device.
        RuntimeError: The levels don't add up to s pixels (if the level tensors are on a CUDA device, reading them would
            wait for it: a level that does not fit into `value` counts as 0 instead).
    """
    _check(value, spatial_shapes, level_start_index, sampling_locations, attention_weights)
    dtype = torch.float64 if value.dtype == torch.float64 else torch.float32
    return kernels.ms_deform_attn(
        value,
        spatial_shapes.to(torch.int64),
        level_start_index.to(torch.int64),
        sampling_locations.to(dtype),
        attention_weights.to(dtype),
    )


def _check(value: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor) -> None:
    op = 'ms_deform_attn'
    for name, x in (('value', value), ('sampling_locations', locations), ('attention_weights', weights)):
        check_floating(op, name, x)
        check_device(op, name, x, value.device)
    if value.dim() != 4:
        raise ValueError(f'{op}: value has shape {tuple(value.shape)}, (b, s, h, c) is expected')
    _check_levels(op, shapes, starts)
    b, _, h, _ = value.shape
    levels = shapes.shape[0]
    if locations.dim() != 6 or (*locations.shape[:1], *locations.shape[2:4], locations.shape[5]) != (b, h, levels, 2):
        raise ValueError(
            f'{op}: sampling_locations has shape {tuple(locations.shape)}, ({b}, q, {h}, {levels}, p, 2) is expected'
        )
    if weights.shape != locations.shape[:5]:
        raise ValueError(
            f'{op}: attention_weights has shape {tuple(weights.shape)}, {tuple(locations.shape[:5])} is expected'
        )


def _check_levels(op: str, shapes: Tensor, starts: Tensor) -> None:
    for name, x in (('spatial_shapes', shapes), ('level_start_index', starts)):
        if not isinstance(x, Tensor):
            raise TypeError(f'{op}: {name} is a {type(x).__name__}, a tensor is expected')
        if x.is_floating_point() or x.dtype == torch.bool:
            raise TypeError(f'{op}: {name} has dtype {x.dtype}, integers are expected')
    if shapes.dim() != 2 or shapes.shape[1] != 2:
        raise ValueError(f'{op}: spatial_shapes has shape {tuple(shapes.shape)}, (l, 2) is expected')
    check_vector(op, 'level_start_index', starts, shapes.shape[0])


class MultiScaleDeformableAttention(nn.Module):
    """Attention to a few learned points around a reference point in every level (Deformable DETR, arXiv 2010.04159).

    Args:
        embed_dims: Channels of the queries and of the output.
        num_heads: Attention heads; they divide the channels.
        num_levels: Levels of the feature pyramid.
        num_points: Sampled points of a level for each query and head.
        im2col_step: Accepted for configs that set it; the kernel needs no such chunks.
        dropout: Dropout rate of the output, before the identity is added.
        batch_first: Tensors are (b, n, c) instead of (n, b, c).
        norm_cfg: Accepted for configs that set it; the attention has no norm.
        init_cfg: Kept for the caller; the weights are always those of `init_weights`.
        value_proj_ratio: Channels of the values relative to `embed_dims`.

    Raises:
        ValueError: `num_heads` does not divide the channels.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_levels: int = 4,
        num_points: int = 4,
        im2col_step: int = 64,
        dropout: float = 0.1,
        batch_first: bool = False,
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
        value_proj_ratio: float = 1.0,
    ):
        super().__init__()
        value_dims = int(embed_dims * value_proj_ratio)
        for name, dims in (('embed_dims', embed_dims), ('embed_dims * value_proj_ratio', value_dims)):
            if dims % num_heads:
                raise ValueError(
                    f'MultiScaleDeformableAttention: {name} is {dims}, a multiple of num_heads={num_heads} is expected'
                )
        self.embed_dims = embed_dims
        self.num_heads = num_heads
        self.num_levels = num_levels
        self.num_points = num_points
        self.im2col_step = im2col_step
        self.batch_first = batch_first
        self.norm_cfg = norm_cfg
        self.init_cfg = init_cfg
        self.dropout = nn.Dropout(dropout)
        self.sampling_offsets = nn.Linear(embed_dims, num_heads * num_levels * num_points * 2)
        self.attention_weights = nn.Linear(embed_dims, num_heads * num_levels * num_points)
        self.value_proj = nn.Linear(embed_dims, value_dims)
        self.output_proj = nn.Linear(value_dims, embed_dims)
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """Start with equal attention to points 1, 2, ... pixels away, in another direction for each head."""
        angles = torch.arange(self.num_heads, dtype=torch.float32) * (2 * math.pi / self.num_heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions /= directions.abs().amax(dim=-1, keepdim=True)  # onto a square: the points are whole pixels away
        steps = torch.arange(1, self.num_points + 1, dtype=torch.float32)[:, None]
        offsets = (directions[:, None, None] * steps).expand(-1, self.num_levels, -1, -1)
        self.sampling_offsets.bias.copy_(offsets.reshape(-1))
        for parameter in (self.sampling_offsets.weight, *self.attention_weights.parameters()):
            parameter.zero_()
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            projection.bias.zero_()

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        reference_points: Tensor | None = None,
        spatial_shapes: Tensor | None = None,
        level_start_index: Tensor | None = None,
    ) -> Tensor:
        """Attend from q queries to the s pixels of all levels.

        Args:
            query: (q, b, c), or (b, q, c) if `batch_first`, as `value`, `identity`, `query_pos` and the output.
            key: Not used; deformable attention has no keys.
            value: (s, b, c), the pixels of one level after the other; the queries by default.
            identity: Added to the output; the queries, without their positions, by default.
            query_pos: Added to the queries.
            key_padding_mask: (b, s) bool, True for pixels that count as 0.
            reference_points: (b, q, levels, 2) x and y, or (b, q, levels, 4) cx, cy, w, h, normalized. Offsets are in
                pixels of their level, or in halves of a box divided by `num_points`.
            spatial_shapes: (levels, 2), height and width of each level.
            level_start_index: (levels,), index of the first pixel of each level.

        Returns:
            The shape of `query`.

        Raises:
            ValueError: `reference_points`, `spatial_shapes` or `level_start_index` is missing or has a wrong shape.
        """
        identity = query if identity is None else identity
        value = query if value is None else value
        query = query if query_pos is None else query + query_pos
        if not self.batch_first:
            query = query.transpose(0, 1)
            value = value.transpose(0, 1)
        self._check(query, reference_points, spatial_shapes, level_start_index)
        value = self.value_proj(value)
        if key_padding_mask is not None:  # after the projection, whose bias would make padding count
            value = value.masked_fill(key_padding_mask[..., None], 0.0)
        locations, weights = self._points(query, reference_points, spatial_shapes)
        value = value.unflatten(-1, (self.num_heads, -1))
        output = self.sample(value, spatial_shapes, level_start_index, locations, weights)
        output = self.output_proj(output)
        return self.dropout(output if self.batch_first else output.transpose(0, 1)) + identity

    def sample(
        self, value: Tensor, spatial_shapes: Tensor, level_start_index: Tensor, locations: Tensor, weights: Tensor
    ) -> Tensor:
        """Hook: read the pixels at `locations` and add them up by their weights; arguments of `ms_deform_attn`."""
        return ms_deform_attn(value, spatial_shapes, level_start_index, locations, weights, self.im2col_step)

    def _points(self, query: Tensor, reference: Tensor, spatial_shapes: Tensor) -> tuple[Tensor, Tensor]:
        """Sampling locations (b, q, heads, levels, points, 2), normalized, and their attention weights."""
        samples = (self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(query).unflatten(-1, (*samples, 2))
        weights = (
            self.attention_weights(query).unflatten(-1, (self.num_heads, -1)).softmax(-1).unflatten(-1, samples[1:])
        )
        centers = reference[:, :, None, :, None, :2]
        # softmax is over the points of all levels together
        if reference.shape[-1] == 2:
            sizes = spatial_shapes.flip(1).to(offsets)[:, None]
            return centers + offsets / sizes, weights
        return centers + offsets * (reference[:, :, None, :, None, 2:] * (0.5 / self.num_points)), weights

    def _check(self, query: Tensor, reference: Tensor | None, shapes: Tensor | None, starts: Tensor | None) -> None:
        given = {'reference_points': reference, 'spatial_shapes': shapes, 'level_start_index': starts}
        for name, x in given.items():
            if x is None:
                raise ValueError(f'MultiScaleDeformableAttention: {name} is missing, a tensor is expected')
        wanted = (*query.shape[:2], self.num_levels)
        if reference.dim() != 4 or reference.shape[:3] != wanted or reference.shape[3] not in (2, 4):
            raise ValueError(
                f'MultiScaleDeformableAttention: reference_points has shape {tuple(reference.shape)}, '
                f'({", ".join(map(str, wanted))}, 2 or 4) is expected'
            )

    def extra_repr(self) -> str:
        return (
            f'embed_dims={self.embed_dims}, num_heads={self.num_heads}, num_levels={self.num_levels}, '
            f'num_points={self.num_points}, batch_first={self.batch_first}'
        )
