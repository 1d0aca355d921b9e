"""Swin Transformer: Hierarchical Vision Transformer using Shifted Windows, arXiv 2103.14030."""

import math
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import FFN, PatchEmbed, PatchMerging, build_norm_layer, maybe_recompute, nlc_to_nchw
from mmdetlike.models.layers.transformer import ShiftWindowMSA, WindowMSA, padded_size, shift_mask
from mmdetlike.registry import MODELS

from .pretrained import PretrainedTransformer, StateDict, check_stage_settings, convert_swin, resize_sequence
from .staged import check_in_range, linear_drop_path


class SwinBlock(BaseModule):
    """Window attention and a feed-forward network, each with a norm layer in front and a shortcut."""

    def __init__(self, attn: ShiftWindowMSA, ffn: FFN, norm_cfg: dict, with_cp: bool) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.norm1 = build_norm_layer(norm_cfg, ffn.embed_dims)[1]
        self.attn = attn
        self.norm2 = build_norm_layer(norm_cfg, ffn.embed_dims)[1]
        self.ffn = ffn

    def forward(self, x: Tensor, hw_shape: tuple[int, int], mask: Tensor | None = None) -> Tensor:
        """(B, H * W, C) to the same shape; ``mask`` as of ``ShiftWindowMSA``."""
        return maybe_recompute(self.with_cp, self._forward, x, hw_shape, mask)

    def _forward(self, x: Tensor, hw_shape: tuple[int, int], mask: Tensor | None) -> Tensor:
        x = x + self.attn(self.norm1(x), hw_shape, mask)
        return self.ffn(self.norm2(x), identity=x)


class SwinBlockSequence(BaseModule):
    """One stage: blocks with and without shift in turn, all with windows of one size, then a merging of patches."""

    def __init__(self, blocks: Sequence[SwinBlock], downsample: PatchMerging | None) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = ModuleList(blocks)
        self.window_size = blocks[0].attn.window_size
        self.shift_size = max(block.attn.shift_size for block in blocks)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> tuple[Tensor, tuple[int, int], Tensor]:
        """(B, H * W, C) to the input of the next stage, its height and width, and the output of this one."""
        mask = None  # of the rolled map: the same in every block that shifts
        if self.shift_size:
            mask = shift_mask(padded_size(hw_shape, self.window_size), self.window_size, self.shift_size, x.device)
        for block in self.blocks:
            x = block(x, hw_shape, mask)
        if self.downsample is None:
            return x, hw_shape, x
        merged, merged_shape = self.downsample(x, hw_shape)
        return merged, merged_shape, x


@MODELS.register_module()
class SwinTransformer(PretrainedTransformer):
    """Swin Transformer: an image in, the maps of the chosen stages out (arXiv 2103.14030).

    Maps of any size are padded to whole windows within each block.

    Args:
        embed_dims: Channels of the first stage; each further one has twice as many.
        patch_size: Size of a patch in pixels.
        window_size: Height and width of a window, in patches.
        depths, num_heads: Blocks, and heads, of each stage.
        strides: Of the patches, then of each merging; the first is ``patch_size``.
        qk_scale: Factor of the logits, by default one over the square root of the channels of a head.
        patch_norm: Whether embeddings of patches and merged patches are normalized.
        use_abs_pos_embed: Whether absolute position embeddings are added to those of the patches.
        frozen_stages: Patch embedding and stages up to this one get no gradient; -1 freezes nothing, 0 the embedding.
        pretrain_img_size, in_channels, mlp_ratio, qkv_bias, drop_rate, attn_drop_rate: As of ``PretrainedTransformer``.
        drop_path_rate, act_cfg, norm_cfg, with_cp: As of ``PretrainedTransformer``.
        out_indices, pretrained, convert_weights, init_cfg: As of ``PretrainedTransformer``.

    Raises:
        ValueError: ``frozen_stages`` is out of range.
        ConfigError: Settings of the stages differ in number, ``strides[0]`` isn't ``patch_size``, or ``init_cfg`` names
            no checkpoint.
    """

    def __init__(
        self,
        pretrain_img_size: int | tuple[int, int] = 224,
        in_channels: int = 3,
        embed_dims: int = 96,
        patch_size: int | tuple[int, int] = 4,
        window_size: int = 7,
        mlp_ratio: float = 4,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        strides: Sequence[int] = (4, 2, 2, 2),
        out_indices: int | Sequence[int] = (0, 1, 2, 3),
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        patch_norm: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        use_abs_pos_embed: bool = False,
        act_cfg: dict = {'type': 'GELU'},  # noqa: B006
        norm_cfg: dict = {'type': 'LN'},  # noqa: B006
        with_cp: bool = False,
        pretrained: str | None = None,
        convert_weights: bool = False,
        frozen_stages: int = -1,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(out_indices, pretrained, convert_weights, init_cfg)
        check_stage_settings(depths=depths, num_heads=num_heads, strides=strides, out_indices=self.out_indices)
        patch = _pair(patch_size)
        if patch != _pair(strides[0]):
            raise ConfigError(f'strides[0]={strides[0]} must be patch_size={patch_size}.')
        check_in_range('frozen_stages', frozen_stages, range(-1, len(depths) + 1))
        self.frozen_stages = frozen_stages
        merge_norm = norm_cfg if patch_norm else None
        self.patch_embed = PatchEmbed(in_channels, embed_dims, kernel_size=patch, stride=None, norm_cfg=merge_norm)
        self.absolute_pos_embed = None
        if use_abs_pos_embed:
            self.pos_shape = tuple(side // size for side, size in zip(_pair(pretrain_img_size), patch))
            self.absolute_pos_embed = nn.Parameter(torch.zeros(1, self.pos_shape[0] * self.pos_shape[1], embed_dims))
        self.drop_after_pos = nn.Dropout(drop_rate)
        self.num_features = [embed_dims * 2**i for i in range(len(depths))]
        attention = dict(qkv_bias=qkv_bias, qk_scale=qk_scale, attn_drop_rate=attn_drop_rate, proj_drop_rate=drop_rate)
        self.stages = ModuleList()
        for i, (channels, rates) in enumerate(zip(self.num_features, linear_drop_path(drop_path_rate, depths))):
            merging = None
            if i + 1 < len(depths):
                merging = PatchMerging(channels, 2 * channels, stride=strides[i + 1], norm_cfg=merge_norm)
            blocks = []
            for j, rate in enumerate(rates):
                drop_path = dict(type='DropPath', drop_prob=rate)
                shift = window_size // 2 if j % 2 == 1 else 0
                attn = ShiftWindowMSA(channels, num_heads[i], window_size, shift, drop_path, **attention)
                drop = dict(ffn_drop=drop_rate, dropout_layer=drop_path)
                ffn = FFN(channels, int(mlp_ratio * channels), act_cfg=act_cfg, **drop)
                blocks.append(SwinBlock(attn, ffn, norm_cfg, with_cp))
            self.stages.append(SwinBlockSequence(blocks, merging))
        for i in self.out_indices:
            self.add_module(f'norm{i}', build_norm_layer(norm_cfg, self.num_features[i])[1])
        self._freeze_stages()

    def draw_other_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, WindowMSA):
                module.init_weights()
        if self.absolute_pos_embed is not None:
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)

    def fit_weights(self, state: StateDict) -> StateDict:
        state = convert_swin(state) if self.convert_weights else dict(state)
        own = self.state_dict()
        for key in [key for key in state if key in own and state[key].shape != own[key].shape]:
            if key.endswith('relative_position_bias_table'):
                side = math.isqrt(len(own[key]))
                state[key] = resize_sequence(state[key][None], (side, side))[0]
            elif key.endswith('relative_position_index'):
                # a buffer that follows from the window's size alone
                del state[key]
        if self.absolute_pos_embed is not None and 'absolute_pos_embed' in state:
            pos_embed = state['absolute_pos_embed']
            pos_embed = pos_embed.flatten(2).transpose(1, 2) if pos_embed.dim() == 4 else pos_embed
            state['absolute_pos_embed'] = resize_sequence(pos_embed, self.pos_shape)
        return state

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, in_channels, H, W) -> maps (B, C_i, H / s_i, W / s_i) of the stages in ``out_indices``.

        Sizes are rounded up; the maps are channels-last in memory.
        """
        x, hw_shape = self.patch_embed(x)
        if self.absolute_pos_embed is not None:
            x = x + resize_sequence(self.absolute_pos_embed, hw_shape, self.pos_shape)
        x = self.drop_after_pos(x)
        outs = []
        for i, stage in enumerate(self.stages):
            # outputs are taken before patches are merged for the next stage
            out_shape = hw_shape
            x, hw_shape, out = stage(x, hw_shape)
            if i in self.out_indices:
                outs.append(nlc_to_nchw(getattr(self, f'norm{i}')(out), out_shape))
        return tuple(outs)

    def train(self, mode: bool = True) -> 'SwinTransformer':
        """Set training mode, keeping frozen parts as in evaluation."""
        super().train(mode)
        self._freeze_stages()
        return self

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        if self.absolute_pos_embed is not None:
            self.absolute_pos_embed.requires_grad = False
        # the norm of an output belongs to its stage, though it stands beside it
        norms = [getattr(self, f'norm{i}') for i in self.out_indices if i < self.frozen_stages]
        for module in (self.patch_embed, self.drop_after_pos, *self.stages[: self.frozen_stages], *norms):
            module.eval()
            module.requires_grad_(False)
