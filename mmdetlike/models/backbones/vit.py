"""The plain vision transformer of ViTDet: Exploring Plain Vision Transformer Backbones, arXiv 2203.16527."""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import DropPath, build_activation_layer, build_norm_layer, maybe_recompute
from mmdetlike.models.layers.transformer import padded_size, window_partition, window_reverse
from mmdetlike.registry import MODELS

from .pretrained import PretrainedTransformer, StateDict, resize_sequence
from .staged import linear_drop_path

# of the classifier or the masked autoencoder that was trained before
UNUSED = ('cls_token', 'mask_token', 'norm.', 'head.', 'fc_norm.', 'decoder')


def relative_embeddings(table: Tensor, length: int) -> Tensor:
    """Embeddings (length, length, C) of each pair of positions along an axis, in a ``table`` (2 * L - 1, C).

    A table for another length L is resized.
    """
    wanted = 2 * length - 1
    if len(table) != wanted:
        table = F.interpolate(table.t()[None], size=wanted, mode='linear')[0].t()
    positions = torch.arange(length, device=table.device)
    return table[positions[:, None] - positions + length - 1]


class RelativeAttention(BaseModule):
    """Attention among the positions of a map, biased by relative positions along each axis (arXiv 2112.01526).

    The tables of relative positions are for maps of ``size``, height and width; None for no such tables.
    """

    def __init__(self, embed_dims: int, num_heads: int, size: tuple[int, int] | None, qkv_bias: bool) -> None:
        super().__init__()
        self.embed_dims, self.num_heads = embed_dims, num_heads
        self.qkv = nn.Linear(embed_dims, embed_dims * 3, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.with_positions = size is not None
        if size is not None:
            self.rel_pos_h = nn.Parameter(torch.zeros(2 * size[0] - 1, embed_dims // num_heads))
            self.rel_pos_w = nn.Parameter(torch.zeros(2 * size[1] - 1, embed_dims // num_heads))

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """(B, H * W, C) to the same shape, for maps of ``hw_shape``, H and W."""
        qkv = self.qkv(x).unflatten(2, (3, self.num_heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self._bias(query, hw_shape) if self.with_positions else None
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.proj(attended.transpose(1, 2).flatten(2))

    def _bias(self, query: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """What is added to the logits, (B, heads, H * W, H * W): products of queries with embeddings of offsets."""
        height, width = hw_shape
        by_row = query.unflatten(2, (height, width))
        rows = torch.einsum('bnhwc,hkc->bnhwk', by_row, relative_embeddings(self.rel_pos_h, height).to(query.dtype))
        columns = torch.einsum('bnhwc,wkc->bnhwk', by_row, relative_embeddings(self.rel_pos_w, width).to(query.dtype))
        return (rows[..., :, None] + columns[..., None, :]).flatten(4).flatten(2, 3)


def feed_forward(embed_dims: int, hidden_dims: int, act_cfg: dict) -> nn.Sequential:
    """Two linear layers with an activation between them, named as in checkpoints."""
    layers = OrderedDict(
        fc1=nn.Linear(embed_dims, hidden_dims),
        act=build_activation_layer(act_cfg),
        fc2=nn.Linear(hidden_dims, embed_dims),
    )
    return nn.Sequential(layers)


class ViTBlock(BaseModule):
    """Attention and a feed-forward network, each with a norm layer in front and a shortcut.

    ``window_size`` is the height and width of the windows that attention is within, 0 for global attention.
    """

    def __init__(
        self,
        attn: RelativeAttention,
        mlp: nn.Module,
        norm_cfg: dict,
        drop_path_rate: float,
        window_size: int,
        with_cp: bool,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.with_cp = with_cp
        self.norm1 = build_norm_layer(norm_cfg, attn.embed_dims)[1]
        self.attn = attn
        self.drop_path = DropPath(drop_path_rate)
        self.norm2 = build_norm_layer(norm_cfg, attn.embed_dims)[1]
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same shape."""
        return maybe_recompute(self.with_cp, self._forward, x)

    def _forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self._attend(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        if self.window_size == 0:
            return self.attn(x.flatten(1, 2), (height, width)).unflatten(1, (height, width))
        # zeros beside the map are attended to as well: the weights were trained so
        padded_height, padded_width = padded_size((height, width), self.window_size)
        x = F.pad(x, (0, 0, 0, padded_width - width, 0, padded_height - height))
        windows = window_partition(x, self.window_size)
        attended = self.attn(windows.flatten(0, 1), (self.window_size, self.window_size)).view_as(windows)
        whole = window_reverse(attended, (padded_height, padded_width), self.window_size)
        return whole[:, :height, :width]


@MODELS.register_module()
class ViT(PretrainedTransformer):
    """A plain vision transformer: an image in, one map out (arXiv 2203.16527); ``SimpleFPN`` makes a pyramid of it.

    Arguments and parameter names are those of the project ViTDet of OpenMMLab's detection toolbox.

    Args:
        img_size: Sides of the images that relative positions of global attention are for; those of other images are
            resized.
        patch_size: Sides of a patch in pixels, and the stride of the map.
        in_chans, embed_dim: Channels of the image, and of the map.
        depth, num_heads: Number of blocks, and heads of each attention.
        mlp_ratio, qkv_bias, drop_path_rate, norm_cfg, act_cfg: As of ``PretrainedTransformer``.
        use_abs_pos: Whether absolute position embeddings are added to those of the patches.
        use_rel_pos: Whether attention is biased by relative positions.
        window_size: Height and width of windows, in patches.
        window_block_indexes: Blocks that attend within windows; the others attend to the whole map.
        use_act_checkpoint: Recompute activations in the backward pass to save memory.
        pretrain_img_size: Sides of the images of the pretraining, which absolute position embeddings are for.
        pretrain_use_cls_token: Whether they have one for a class token in front, which isn't used.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)``, as of a masked autoencoder; None for random weights.

    Raises:
        ConfigError: ``embed_dim`` isn't a multiple of ``num_heads``, or ``window_block_indexes`` need a ``window_size``
            or name blocks that aren't there.
    """

    def __init__(
        self,
        img_size: int = 1024,
        patch_size: int = 16,
        in_chans: int = 3,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop_path_rate: float = 0.0,
        norm_cfg: dict = {'type': 'LN', 'eps': 1e-6},  # noqa: B006
        act_cfg: dict = {'type': 'GELU'},  # noqa: B006
        use_abs_pos: bool = True,
        use_rel_pos: bool = False,
        window_size: int = 0,
        window_block_indexes: Sequence[int] = (),
        use_act_checkpoint: bool = False,
        pretrain_img_size: int = 224,
        pretrain_use_cls_token: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(out_indices=(0,), pretrained=None, convert_weights=False, init_cfg=init_cfg)
        check_blocks(depth, embed_dim, num_heads, window_size, window_block_indexes)
        self.patch_size = patch_size
        self.num_class_tokens = int(pretrain_use_cls_token)
        # named as in checkpoints
        patches = OrderedDict(proj=nn.Conv2d(in_chans, embed_dim, patch_size, stride=patch_size))
        self.patch_embed = nn.Sequential(patches)
        self.pos_embed = None
        if use_abs_pos:
            num_patches = (pretrain_img_size // patch_size) ** 2
            self.pos_embed = nn.Parameter(torch.zeros(1, num_patches + self.num_class_tokens, embed_dim))
        self.blocks = ModuleList()
        for i, rate in enumerate(linear_drop_path(drop_path_rate, [depth])[0]):
            window = window_size if i in window_block_indexes else 0
            side = window or img_size // patch_size
            rel_pos_size = (side, side) if use_rel_pos else None
            attn = RelativeAttention(embed_dim, num_heads, rel_pos_size, qkv_bias)
            mlp = feed_forward(embed_dim, int(embed_dim * mlp_ratio), act_cfg)
            self.blocks.append(ViTBlock(attn, mlp, norm_cfg, rate, window, with_cp=use_act_checkpoint))

    def draw_other_weights(self) -> None:
        if self.pos_embed is not None:
            nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def fit_weights(self, state: StateDict) -> StateDict:
        state = {key: value for key, value in state.items() if not key.startswith(UNUSED)}
        if self.pos_embed is not None and 'pos_embed' in state:
            state['pos_embed'] = self._fit_positions(state['pos_embed'])
        return state

    def _fit_positions(self, pos_embed: Tensor) -> Tensor:
        """Embeddings (1, N, C) of a pretraining as many as ours, with or without one of a class token."""
        side = math.isqrt(self.pos_embed.shape[1])
        patches = resize_sequence(pos_embed, (side, side), (math.isqrt(pos_embed.shape[1]),) * 2)
        token = patches.new_zeros(1, self.num_class_tokens, patches.shape[2])
        return torch.cat([token, patches], dim=1)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Images (B, in_chans, H, W) -> one map (B, embed_dim, H / patch_size, W / patch_size), sizes rounded down."""
        x = self.patch_embed(x).permute(0, 2, 3, 1)
        if self.pos_embed is not None:
            hw_shape = tuple(x.shape[1:3])
            positions = self.pos_embed[:, self.num_class_tokens :]
            side = math.isqrt(positions.shape[1])
            x = x + resize_sequence(positions, hw_shape, (side, side)).unflatten(1, hw_shape)
        for block in self.blocks:
            x = block(x)
        return (x.permute(0, 3, 1, 2),)


def check_blocks(depth: int, embed_dim: int, num_heads: int, window_size: int, windowed: Sequence[int]) -> None:
    """Raise ``ConfigError`` where the blocks of a ``ViT`` can't be built so."""
    if embed_dim % num_heads:
        raise ConfigError(f'ViT has embed_dim={embed_dim}; expected a multiple of num_heads={num_heads}.')
    missing = [i for i in windowed if i not in range(depth)]
    if missing:
        raise ConfigError(f'ViT has window_block_indexes {missing}; expected blocks from 0 to {depth - 1}.')
    if windowed and window_size < 1:
        raise ConfigError(f'ViT has window_size={window_size} and window_block_indexes; expected a size of 1 or more.')
