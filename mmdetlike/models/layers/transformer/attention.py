"""Multi-head attention on PyTorch's fused kernels, of all to all and within windows (Swin Transformer)."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from ..drop import build_dropout


def attention_mask(attn_mask: Tensor | None, key_padding_mask: Tensor | None, num_heads: int) -> Tensor | None:
    """Bring both masks of ``nn.MultiheadAttention`` into the one that ``F.scaled_dot_product_attention`` takes.

    ``attn_mask`` is (L, S) or (B * num_heads, L, S), ``key_padding_mask`` (B, S), both true where a query must not
    look, or numbers to add to the logits; ``ValueError`` for other shapes. The result is broadcastable to
    (B, num_heads, L, S): bool, true where a query may look, or numbers to add to the logits; None for no mask.
    """
    if attn_mask is not None:
        attn_mask = _per_head(attn_mask, num_heads)
    if key_padding_mask is not None:
        if key_padding_mask.dim() != 2:
            raise ValueError(f'key_padding_mask must be (batch, keys), but got {tuple(key_padding_mask.shape)}.')
        key_padding_mask = key_padding_mask[:, None, None]
    masks = [mask for mask in (attn_mask, key_padding_mask) if mask is not None]
    # numbers can't be joined with truth values: then both become numbers
    if any(mask.is_floating_point() for mask in masks):
        return sum(_additive(mask) for mask in masks)
    # torch's kernel has True where a query may look, its module where it must not
    allowed = [~mask.bool() for mask in masks]
    return allowed[0] & allowed[1] if len(allowed) == 2 else next(iter(allowed), None)


def _per_head(mask: Tensor, num_heads: int) -> Tensor:
    if mask.dim() == 2:
        return mask[None, None]
    if mask.dim() == 3 and mask.shape[0] % num_heads == 0:
        return mask.unflatten(0, (mask.shape[0] // num_heads, num_heads))
    raise ValueError(
        f'attn_mask must be (queries, keys) or (batch * {num_heads} heads, queries, keys), but got {tuple(mask.shape)}.'
    )


def _additive(mask: Tensor) -> Tensor:
    if mask.is_floating_point():
        return mask
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(mask.bool(), float('-inf'))


@MODELS.register_module()
class MultiheadAttention(BaseModule):
    """Multi-head attention with shortcut and positional encodings (Attention Is All You Need, arXiv 1706.03762).

    The parameters are those of ``nn.MultiheadAttention``, under ``attn``. Unlike there, a query whose keys are all
    masked gets zeros from its heads instead of NaN, with finite gradients.

    Args:
        embed_dims: Channels of query, key, value and output.
        num_heads: Heads that the channels are divided into; ``ConfigError`` where there are channels left over.
        attn_drop: Probability of dropping an attention weight.
        proj_drop: Probability of dropping an element of the output.
        dropout_layer: Layer before the shortcut is added; ``Dropout`` or ``DropPath``, None for none.
        batch_first: Whether tensors are (batch, length, channels) instead of (length, batch, channels).
        bias: Whether the projections of query, key, value and output have biases.
        dropout: Older spelling that sets both ``attn_drop`` and the probability of ``dropout_layer``.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        dropout_layer: dict | None = {'type': 'Dropout', 'drop_prob': 0.0},  # noqa: B006
        init_cfg: dict | None = None,
        batch_first: bool = False,
        bias: bool = True,
        dropout: float | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if embed_dims % num_heads:
            raise ConfigError(f'embed_dims must be a multiple of num_heads, but got {embed_dims} and {num_heads}.')
        if dropout is not None:
            attn_drop = dropout
            dropout_layer = dict(dropout_layer, drop_prob=dropout) if dropout_layer else None
        self.embed_dims, self.num_heads, self.batch_first = embed_dims, num_heads, batch_first
        self.attn = nn.MultiheadAttention(embed_dims, num_heads, attn_drop, bias=bias)
        self.proj_drop = nn.Dropout(proj_drop)
        self.dropout_layer = build_dropout(dropout_layer) if dropout_layer else nn.Identity()

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_pos: Tensor | None = None,
        attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend, and add the shortcut.

        Args:
            query: (B, L, C), or (L, B, C) without ``batch_first``; so are the others, and the result.
            key, value: (B, S, C); without a key the query, without a value the key.
            identity: The shortcut (B, L, C), by default ``query`` without position.
            query_pos: Added to ``query``.
            key_pos: Added to ``key``; by default ``query_pos`` where ``key`` is ``query`` or of its shape.
            attn_mask, key_padding_mask: As of ``attention_mask``.
        """
        key = query if key is None else key
        value = key if value is None else value
        identity = query if identity is None else identity
        # positions of one image serve all of a batch, so in self-attention shapes may differ
        if key_pos is None and query_pos is not None and (key is query or query_pos.shape == key.shape):
            key_pos = query_pos
        is_same = key is query and key_pos is query_pos
        query = query if query_pos is None else query + query_pos
        if is_same:
            # the same tensor, not an equal one: ``_project`` then needs one matrix product for both
            key = query
        elif key_pos is not None:
            key = key + key_pos
        out = self.attend(query, key, value, attention_mask(attn_mask, key_padding_mask, self.num_heads))
        return identity + self.dropout_layer(self.proj_drop(out))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """``forward`` without positions, shortcut and dropout; ``mask`` is what ``attention_mask`` returns."""
        heads = [self._split(x) for x in self._project(query, key, value)]
        if mask is not None and mask.is_floating_point():
            mask = mask.to(heads[0].dtype)
        drop = self.attn.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(*heads, attn_mask=mask, dropout_p=drop)
        out = out.permute(0, 2, 1, 3) if self.batch_first else out.permute(2, 0, 1, 3)
        return self.attn.out_proj(out.flatten(2))

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Project query, key and value; inputs that are the same tensor share one matrix product."""
        weight, bias, c = self.attn.in_proj_weight, self.attn.in_proj_bias, self.embed_dims
        # how many of query, key and value, in this order, each product makes: the rows of ``weight`` lie in this order
        sections = [3] if query is key is value else [2, 1] if query is key else [1, 2] if key is value else [1, 1, 1]
        starts = [sum(sections[:i]) for i in range(len(sections))]
        inputs = [(query, key, value)[start] for start in starts]
        weights = weight.split([c * n for n in sections])
        biases = bias.split([c * n for n in sections]) if bias is not None else [None] * len(sections)
        return sum((F.linear(x, w, b).split(c, dim=-1) for x, w, b in zip(inputs, weights, biases)), ())

    def _split(self, x: Tensor) -> Tensor:
        """(B, L, C), or (L, B, C) without ``batch_first``, to (B, heads, L, C / heads)."""
        x = x.unflatten(-1, (self.num_heads, self.embed_dims // self.num_heads))
        return x.transpose(1, 2) if self.batch_first else x.permute(1, 2, 0, 3)


def window_partition(x: Tensor, window_size: int) -> Tensor:
    """Cut a map (B, H, W, C) into windows (B, windows, window_size ** 2, C), row by row."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // window_size, window_size, w // window_size, window_size, c)
    return x.transpose(2, 3).reshape(b, -1, window_size * window_size, c)


def window_reverse(windows: Tensor, hw_shape: tuple[int, int], window_size: int) -> Tensor:
    """Put windows (B, windows, window_size ** 2, C) together to a map (B, H, W, C)."""
    b, _, _, c = windows.shape
    h, w = hw_shape
    x = windows.reshape(b, h // window_size, w // window_size, window_size, window_size, c)
    return x.transpose(2, 3).reshape(b, h, w, c)


def shift_mask(hw_shape: tuple[int, int], window_size: int, shift_size: int, device: torch.device) -> Tensor:
    """What to add to the logits of each window once the map has been rolled by ``shift_size``, up and to the left.

    The sides ``hw_shape`` of the map are multiples of ``window_size``. The result (windows, window_size ** 2,
    window_size ** 2) is 0 for pixels that were neighbors before, else -100.
    """
    # Along each axis the rolled map has three regions: whole windows, the rest of the last one, and what was rolled in
    # from the other side. Pixels of a window were neighbors if they are of one region along both axes.
    regions = []
    for length in hw_shape:
        index = torch.arange(length, device=device)
        regions.append((index >= length - window_size).int() + (index >= length - shift_size).int())
    region = (3 * regions[0][:, None] + regions[1]).reshape(1, *hw_shape, 1)
    region = window_partition(region, window_size)[0, :, :, 0]
    return (region[:, :, None] != region[:, None]).float() * -100.0


def relative_position_index(window_size: tuple[int, int]) -> Tensor:
    """Which bias belongs to each pair of pixels of a window, (H * W, H * W) in [0, (2H - 1) * (2W - 1))."""
    height, width = window_size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    y = y.flatten()
    x = x.flatten()
    # offsets range from -(length - 1) to length - 1; shifted, a pair of them is a two-digit number
    return (y[:, None] - y + height - 1) * (2 * width - 1) + (x[:, None] - x + width - 1)


class WindowMSA(BaseModule):
    """Multi-head attention within windows, biased by relative positions (Swin Transformer, arXiv 2103.14030).

    Args:
        embed_dims: Channels.
        num_heads: Heads that the channels are divided into.
        window_size: Height and width of a window.
        qkv_bias: Whether the projection to query, key and value has a bias.
        qk_scale: Factor of the logits, by default one over the square root of the channels of a head.
        attn_drop_rate: Probability of dropping an attention weight.
        proj_drop_rate: Probability of dropping an element of the output.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        window_size: tuple[int, int],
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if embed_dims % num_heads:
            raise ConfigError(f'embed_dims must be a multiple of num_heads, but got {embed_dims} and {num_heads}.')
        self.embed_dims, self.num_heads, self.window_size, self.scale = embed_dims, num_heads, window_size, qk_scale
        num_offsets = (2 * window_size[0] - 1) * (2 * window_size[1] - 1)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(num_offsets, num_heads))
        self.register_buffer('relative_position_index', relative_position_index(window_size))
        self.qkv = nn.Linear(embed_dims, embed_dims * 3, bias=qkv_bias)
        self.attn_drop = nn.Dropout(attn_drop_rate)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(proj_drop_rate)

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend within each window of ``x`` (B, windows, N, C), N pixels each.

        ``mask`` (windows, N, N) is added to the logits.
        """
        b, windows, n, c = x.shape
        qkv = self.qkv(x).reshape(b * windows, n, 3, self.num_heads, c // self.num_heads)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[None]
        if mask is not None:
            # (windows, heads, N, N) and images come window by window, so the mask repeats for each image
            bias = (mask[:, None] + bias).repeat(b, 1, 1, 1)
        out = F.scaled_dot_product_attention(
            *qkv.permute(2, 0, 3, 1, 4).unbind(0),
            attn_mask=bias.to(qkv.dtype),
            dropout_p=self.attn_drop.p if self.training else 0.0,
            scale=self.scale,
        )
        out = out.transpose(1, 2).reshape(b, windows, n, c)
        return self.proj_drop(self.proj(out))


class ShiftWindowMSA(BaseModule):
    """Attention within the windows of a map, which is rolled before and back after.

    Args:
        embed_dims, num_heads, qkv_bias, qk_scale, attn_drop_rate, proj_drop_rate: As of ``WindowMSA``.
        window_size: Height and width of a window.
        shift_size: How far the map is rolled, in [0, window_size); else ``ConfigError``.
        dropout_layer: Layer after the attention, ``Dropout`` or ``DropPath``.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        window_size: int,
        shift_size: int = 0,
        dropout_layer: dict = {'type': 'DropPath', 'drop_prob': 0.0},  # noqa: B006
        init_cfg: dict | None = None,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
    ) -> None:
        super().__init__(init_cfg)
        if not 0 <= shift_size < window_size:
            raise ConfigError(f'shift_size must be in [0, window_size={window_size}), but got {shift_size}.')
        self.window_size, self.shift_size = window_size, shift_size
        self.w_msa = WindowMSA(
            embed_dims, num_heads, _pair(window_size), qkv_bias, qk_scale, attn_drop_rate, proj_drop_rate
        )
        self.drop = build_dropout(dropout_layer)

    def forward(self, x: Tensor, hw_shape: tuple[int, int], mask: Tensor | None = None) -> Tensor:
        """Attend within windows of ``x`` (B, H * W, C).

        ``mask`` is that of the rolled map, padded to multiples of the window, as ``shift_mask`` returns it; it is made
        here where it isn't given.
        """
        size, shift = self.window_size, self.shift_size
        height, width = hw_shape
        padded = padded_size(hw_shape, size)
        x = x.unflatten(1, (height, width))
        if padded != (height, width):
            x = F.pad(x, (0, 0, 0, padded[1] - width, 0, padded[0] - height))
        if shift:
            x = torch.roll(x, (-shift, -shift), (1, 2))
            mask = shift_mask(padded, size, shift, x.device) if mask is None else mask
        x = self.w_msa(window_partition(x, size), mask if shift else None)
        x = window_reverse(x, padded, size)
        if shift:
            x = torch.roll(x, (shift, shift), (1, 2))
        return self.drop(x[:, :height, :width].flatten(1, 2))


def padded_size(hw_shape: tuple[int, int], window_size: int) -> tuple[int, int]:
    """Height and width rounded up to multiples of ``window_size``."""
    height, width = (-(-length // window_size) * window_size for length in hw_shape)
    return height, width
