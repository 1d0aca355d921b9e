"""Multi-head attention on PyTorch's fused kernels."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from ..drop import build_dropout


def attention_mask(attn_mask: Tensor | None, key_padding_mask: Tensor | None, num_heads: int) -> Tensor | None:
    """Bring both masks of ``nn.MultiheadAttention`` into the one that ``F.scaled_dot_product_attention`` takes.

    That one is broadcastable to (B, num_heads, L, S); bool, true where a query may look, or numbers to add to the
    logits; None for no mask. ``ValueError`` for masks of other shapes.

    Args:
        attn_mask: (L, S) or (B * num_heads, L, S); true where a query must not look, or numbers added to the logits.
        key_padding_mask: (B, S); true where no query may look, or numbers added to the logits.
        num_heads: Heads of the attention.
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
        num_heads: Heads that the channels are divided into.
        attn_drop: Probability of dropping an attention weight.
        proj_drop: Probability of dropping an element of the output.
        dropout_layer: Layer before the shortcut is added; ``Dropout`` or ``DropPath``, None for none.
        batch_first: Whether tensors are (batch, length, channels) instead of (length, batch, channels).
        bias: Whether the projections of query, key, value and output have biases.
        dropout: Older spelling that sets both ``attn_drop`` and the probability of ``dropout_layer``.

    Raises:
        ConfigError: ``embed_dims`` isn't a multiple of ``num_heads``.
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
