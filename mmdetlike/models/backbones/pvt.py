"""Pyramid Vision Transformer, arXiv 2102.12122, and its second version, arXiv 2106.13797."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList, normal_init
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmdetlike.models.layers import build_activation_layer, build_dropout, build_norm_layer
from mmdetlike.models.layers.transformer import MultiheadAttention, PatchEmbed, nchw_to_nlc, nlc_to_nchw
from mmdetlike.registry import MODELS

from .pretrained import PretrainedTransformer, StateDict, check_stage_settings, convert_pvt, resize_sequence
from .staged import linear_drop_path


class MixFFN(BaseModule):
    """Two 1x1 convolutions with a shortcut, and a depthwise 3x3 convolution in between for positions if asked.

    The arguments are those of ``FFN``; ``use_conv`` says whether there is the depthwise convolution.
    """

    def __init__(
        self,
        embed_dims: int,
        feedforward_channels: int,
        act_cfg: dict,
        ffn_drop: float,
        dropout_layer: dict,
        use_conv: bool,
    ) -> None:
        super().__init__()
        hidden = feedforward_channels
        depthwise = [nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)] if use_conv else []
        self.layers = nn.Sequential(
            nn.Conv2d(embed_dims, hidden, 1),
            *depthwise,
            build_activation_layer(act_cfg),
            nn.Dropout(ffn_drop),
            nn.Conv2d(hidden, embed_dims, 1),
            nn.Dropout(ffn_drop),
        )
        self.dropout_layer = build_dropout(dropout_layer)

    def forward(self, x: Tensor, hw_shape: tuple[int, int], identity: Tensor) -> Tensor:
        """(B, H * W, embed_dims) to the same shape; the shortcut is ``identity``."""
        out = x
        for layer in self.layers:
            if not isinstance(layer, nn.Conv2d):
                out = layer(out)
            elif layer.kernel_size == (1, 1):  # on a sequence: a matrix product without a change of layout
                out = F.linear(out, layer.weight.flatten(1), layer.bias)
            else:
                out = nchw_to_nlc(layer(nlc_to_nchw(out, hw_shape)))
        return identity + self.dropout_layer(out)


class SpatialReductionAttention(MultiheadAttention):
    """Self-attention whose keys and values come from a map that is ``sr_ratio`` times smaller along each axis.

    ``norm_cfg`` is the norm layer of that map; other arguments are those of ``MultiheadAttention``.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        sr_ratio: int,
        norm_cfg: dict,
        bias: bool,
        attn_drop: float,
        proj_drop: float,
        dropout_layer: dict,
    ) -> None:
        super().__init__(embed_dims, num_heads, attn_drop, proj_drop, dropout_layer, batch_first=True, bias=bias)
        self.sr_ratio = sr_ratio
        if sr_ratio > 1:
            self.sr = nn.Conv2d(embed_dims, embed_dims, kernel_size=sr_ratio, stride=sr_ratio)
            self.norm = build_norm_layer(norm_cfg, embed_dims)[1]

    def forward(self, x: Tensor, hw_shape: tuple[int, int], identity: Tensor) -> Tensor:
        """(B, H * W, embed_dims) to the same shape; the shortcut is ``identity``."""
        smaller = x
        if self.sr_ratio > 1:
            smaller = self.norm(nchw_to_nlc(self.sr(nlc_to_nchw(x, hw_shape))))
        # key and value are one tensor, and share a matrix product
        out = self.dropout_layer(self.proj_drop(self.attend(x, smaller, smaller)))
        return identity + out


class PVTEncoderLayer(BaseModule):
    """Attention and a feed-forward network, each with a norm layer in front and a shortcut."""

    def __init__(self, attn: SpatialReductionAttention, ffn: MixFFN, norm_cfg: dict) -> None:
        super().__init__()
        self.norm1 = build_norm_layer(norm_cfg, attn.embed_dims)[1]
        self.attn = attn
        self.norm2 = build_norm_layer(norm_cfg, attn.embed_dims)[1]
        self.ffn = ffn

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """(B, H * W, embed_dims) to the same shape."""
        x = self.attn(self.norm1(x), hw_shape, identity=x)
        return self.ffn(self.norm2(x), hw_shape, identity=x)


class AbsolutePositionEmbedding(BaseModule):
    """A learnable embedding of each position of a map of ``pos_shape``, resized to the map at hand."""

    def __init__(self, pos_shape: tuple[int, int], pos_dim: int, drop_rate: float) -> None:
        super().__init__()
        self.pos_shape = pos_shape
        self.pos_embed = nn.Parameter(torch.zeros(1, pos_shape[0] * pos_shape[1], pos_dim))
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Add the embeddings to ``x`` (B, H * W, pos_dim)."""
        return self.drop(x + resize_sequence(self.pos_embed, hw_shape, self.pos_shape, mode='bilinear'))


@MODELS.register_module()
class PyramidVisionTransformer(PretrainedTransformer):
    """Pyramid Vision Transformer: an image in, the maps of the chosen stages out (arXiv 2102.12122).

    Args:
        embed_dims: Channels of a head; a stage has them times its heads.
        num_stages: Number of stages; a setting of stages may have more values than that.
        num_layers, num_heads: Layers, and heads, of each stage.
        patch_sizes, strides, paddings: Kernel, stride and padding of each stage's patch embedding.
        sr_ratios: How many times smaller the map of keys and values of each stage is along each axis.
        mlp_ratios: Ratio of the hidden channels of each stage's feed-forward networks to its outer ones.
        use_abs_pos_embed: Whether each stage adds position embeddings.
        norm_after_stage: Whether each stage ends with a norm layer.
        use_conv_ffn: Whether feed-forward networks have a depthwise convolution.
        pretrain_img_size, in_channels, qkv_bias, drop_rate, attn_drop_rate: As of ``PretrainedTransformer``.
        drop_path_rate, act_cfg, norm_cfg: As of ``PretrainedTransformer``.
        out_indices, pretrained, convert_weights, init_cfg: As of ``PretrainedTransformer``.

    Raises:
        ConfigError: Settings of the stages differ in number, or ``init_cfg`` names no checkpoint.
    """

    def __init__(
        self,
        pretrain_img_size: int | tuple[int, int] = 224,
        in_channels: int = 3,
        embed_dims: int = 64,
        num_stages: int = 4,
        num_layers: Sequence[int] = (3, 4, 6, 3),
        num_heads: Sequence[int] = (1, 2, 5, 8),
        patch_sizes: Sequence[int] = (4, 2, 2, 2),
        strides: Sequence[int] = (4, 2, 2, 2),
        paddings: Sequence[int] = (0, 0, 0, 0),
        sr_ratios: Sequence[int] = (8, 4, 2, 1),
        out_indices: int | Sequence[int] = (0, 1, 2, 3),
        mlp_ratios: Sequence[float] = (8, 8, 4, 4),
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        use_abs_pos_embed: bool = True,
        norm_after_stage: bool = False,
        use_conv_ffn: bool = False,
        act_cfg: dict = {'type': 'GELU'},  # noqa: B006
        norm_cfg: dict = {'type': 'LN', 'eps': 1e-6},  # noqa: B006
        pretrained: str | None = None,
        convert_weights: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(out_indices, pretrained, convert_weights, init_cfg)
        settings = dict(num_layers=num_layers, num_heads=num_heads, mlp_ratios=mlp_ratios, sr_ratios=sr_ratios)
        settings.update(patch_sizes=patch_sizes, strides=strides, paddings=paddings)
        used = {name: values[:num_stages] for name, values in settings.items()}
        check_stage_settings(self.out_indices, **used)
        attention = dict(norm_cfg=norm_cfg, bias=qkv_bias, attn_drop=attn_drop_rate, proj_drop=drop_rate)
        height, width = _pair(pretrain_img_size)
        self.layers = ModuleList()
        for i, rates in enumerate(linear_drop_path(drop_path_rate, used['num_layers'])):
            height //= patch_sizes[i]
            width //= patch_sizes[i]
            channels = embed_dims * num_heads[i]
            blocks = ModuleList()
            if use_abs_pos_embed:
                blocks.append(AbsolutePositionEmbedding((height, width), channels, drop_rate))
            for rate in rates:
                drop_path = dict(type='DropPath', drop_prob=rate)
                size = (channels, num_heads[i], sr_ratios[i])
                attn = SpatialReductionAttention(*size, dropout_layer=drop_path, **attention)
                ffn = MixFFN(channels, int(mlp_ratios[i] * channels), act_cfg, drop_rate, drop_path, use_conv_ffn)
                blocks.append(PVTEncoderLayer(attn, ffn, norm_cfg))
            norm = build_norm_layer(norm_cfg, channels)[1] if norm_after_stage else nn.Identity()
            patch = dict(kernel_size=patch_sizes[i], stride=strides[i], padding=paddings[i])
            embed = PatchEmbed(in_channels, channels, norm_cfg=norm_cfg, **patch)
            self.layers.append(ModuleList([embed, blocks, norm]))
            in_channels = channels

    def draw_other_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # He initialization by the outputs, which counts the groups, as EfficientNet does
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels / module.groups
                normal_init(module, 0, math.sqrt(2.0 / fan_out))
            elif isinstance(module, AbsolutePositionEmbedding):
                nn.init.trunc_normal_(module.pos_embed, std=0.02)

    def fit_weights(self, state: StateDict) -> StateDict:
        state = convert_pvt(state) if self.convert_weights else dict(state)
        for name, module in self.named_modules():
            key = f'{name}.pos_embed'
            if isinstance(module, AbsolutePositionEmbedding) and key in state:
                state[key] = resize_sequence(state[key], module.pos_shape)
        return state

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, in_channels, H, W) -> maps (B, C_i, H / s_i, W / s_i) of the stages in ``out_indices``.

        The maps are channels-last in memory.
        """
        outs = []
        for i, (patch_embed, blocks, norm) in enumerate(self.layers):
            x, hw_shape = patch_embed(x)
            for block in blocks:
                x = block(x, hw_shape)
            x = nlc_to_nchw(norm(x), hw_shape)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)


@MODELS.register_module()
class PyramidVisionTransformerV2(PyramidVisionTransformer):
    """PVT v2: overlapping patches, and convolutions in place of position embeddings (arXiv 2106.13797).

    The arguments are those of ``PyramidVisionTransformer`` that this leaves open.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(
            patch_sizes=(7, 3, 3, 3),
            paddings=(3, 1, 1, 1),
            use_abs_pos_embed=False,
            norm_after_stage=True,
            use_conv_ffn=True,
            **kwargs,
        )
