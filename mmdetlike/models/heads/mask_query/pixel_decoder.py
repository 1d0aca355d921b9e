"""Pixel decoders: backbone maps -> one fine map of mask features and the maps that queries attend to.

MaskFormer, arXiv 2107.06278; Mask2Former, arXiv 2112.01527.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, caffe2_xavier_init, normal_init, xavier_init
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import ConvModule, build_part
from mmdetlike.models.layers.transformer import (
    DeformableEncoder,
    TransformerEncoder,
    build_positional_encoding,
    flatten_pyramid,
)
from mmdetlike.registry import MODELS

RELU = dict(type='ReLU')
GROUP_NORM = dict(type='GN', num_groups=32)


class TopDownPath(BaseModule):
    """Base of the pixel decoders: from coarse to fine, each level is added to the upsampled one above it.

    Args:
        in_channels: Channels of the maps, fine to coarse.
        feat_channels, out_channels: Channels of the path, and of the mask features.
        norm_cfg, act_cfg: Norm layer, and activation after each sum.
    """

    mode = 'nearest'  # how a level is upsampled
    mask_kernel_size = 3

    def __init__(
        self,
        in_channels: Sequence[int],
        feat_channels: int,
        out_channels: int,
        norm_cfg: dict | None = GROUP_NORM,
        act_cfg: dict | None = RELU,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        lateral = dict(bias=norm_cfg is None, norm_cfg=norm_cfg, act_cfg=None)
        self.layer = dict(lateral, padding=1, act_cfg=act_cfg)
        self.lateral_convs = nn.ModuleList(ConvModule(c, feat_channels, 1, **lateral) for c in in_channels[:-1])
        outputs = [ConvModule(feat_channels, feat_channels, 3, **self.layer) for _ in self.lateral_convs]
        self.output_convs = nn.ModuleList(outputs)
        kernel_size = self.mask_kernel_size
        self.mask_feature = nn.Conv2d(feat_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.build_top(in_channels, feat_channels)

    def build_top(self, in_channels: Sequence[int], feat_channels: int) -> None:
        """Hook: make what the path starts from, of the coarsest map; called at the end of the constructor."""

    def init_weights(self) -> None:
        super().init_weights()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                caffe2_xavier_init(module, bias=0)

    def forward(self, feats: Sequence[Tensor], masks: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """Mask features (B, out_channels, H_0, W_0) and, coarse to fine, the maps that queries attend to.

        ``feats`` (B, C_i, H_i, W_i) are fine to coarse, ``masks`` (B, H, W) True for padding of the images.
        """
        top, memory = self.start(feats[-1], masks)
        return self.mask_feature(self.descend(feats[:-1], top)[-1]), [memory]

    def start(self, feat: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        """Hook: where the path starts, and the map that queries attend to, from the coarsest map of the backbone."""
        raise NotImplementedError

    def descend(self, feats: Sequence[Tensor], top: Tensor) -> list[Tensor]:
        """The maps (B, C, H_i, W_i) of the path, coarse to fine, for ``feats`` (fine to coarse) below ``top``."""
        outs = []
        for feat, lateral, output in reversed(list(zip(feats, self.lateral_convs, self.output_convs))):
            current = lateral(feat)
            # torch warns of align_corners where there are no corners to align, so nearest must go without
            options = dict(align_corners=False) if self.mode == 'bilinear' else {}
            top = output(current + F.interpolate(top, size=current.shape[-2:], mode=self.mode, **options))
            outs.append(top)
        return outs


@MODELS.register_module()
class PixelDecoder(TopDownPath):
    """A feature pyramid that starts from a convolution of the coarsest map; arguments of ``TopDownPath``."""

    def build_top(self, in_channels: Sequence[int], feat_channels: int) -> None:
        self.last_feat_conv = ConvModule(in_channels[-1], feat_channels, 3, **self.layer)

    def start(self, feat: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        """A convolution of the coarsest map; queries attend to the map itself."""
        return self.last_feat_conv(feat), feat


@MODELS.register_module()
class TransformerEncoderPixelDecoder(TopDownPath):
    """A feature pyramid that starts from a transformer encoder of the coarsest map.

    Args:
        in_channels, feat_channels, out_channels, norm_cfg, act_cfg: As of ``TopDownPath``.
        encoder: Arguments of ``TransformerEncoder``.
        positional_encoding: Arguments of ``SinePositionalEncoding``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        feat_channels: int,
        out_channels: int,
        norm_cfg: dict | None = GROUP_NORM,
        act_cfg: dict | None = RELU,
        *,
        encoder: dict,
        positional_encoding: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, feat_channels, out_channels, norm_cfg, act_cfg, init_cfg)
        self.encoder = build_part(encoder, TransformerEncoder)
        width = self.encoder.embed_dims
        self.positional_encoding = build_positional_encoding(positional_encoding, width)
        self.encoder_in_proj = nn.Conv2d(in_channels[-1], width, 1)
        self.encoder_out_proj = ConvModule(width, feat_channels, 3, **self.layer)

    def start(self, feat: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        """The coarsest map after self-attention of its pixels, which queries attend to as well."""
        pyramid = flatten_pyramid([self.encoder_in_proj(feat)], masks, self.positional_encoding)
        (memory,) = pyramid.as_maps(self.encoder.encode(pyramid))
        return self.encoder_out_proj(memory), memory


@MODELS.register_module()
class MSDeformAttnPixelDecoder(TopDownPath):
    """Deformable attention among the coarse maps, then a path down to the fine ones.

    Args:
        in_channels, out_channels, norm_cfg, act_cfg: As of ``TopDownPath``.
        strides: Stride of each map in pixels.
        feat_channels: Channels of the encoder and the path.
        num_outs: Maps that queries attend to.
        encoder: Arguments of ``DeformableEncoder``, required; the ``num_levels`` of its attention are the coarse maps.
        positional_encoding: Arguments of ``SinePositionalEncoding``.
    """

    mode = 'bilinear'
    mask_kernel_size = 1

    def __init__(
        self,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        strides: Sequence[int] = (4, 8, 16, 32),
        feat_channels: int = 256,
        out_channels: int = 256,
        num_outs: int = 3,
        norm_cfg: dict | None = GROUP_NORM,
        act_cfg: dict | None = RELU,
        encoder: dict | None = None,
        positional_encoding: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if encoder is None:
            raise ConfigError('MSDeformAttnPixelDecoder needs an encoder: a dict of the arguments of DeformableEncoder')
        # the levels of the attention are those that are encoded; finer maps are too large for it
        num_encoded = encoder['layer_cfg']['self_attn_cfg'].get('num_levels', 4)
        # the path starts from the finest of them
        on_path = in_channels[: len(in_channels) - num_encoded + 1]
        super().__init__(on_path, feat_channels, out_channels, norm_cfg, act_cfg, init_cfg)
        self.strides, self.num_outs, self.num_encoder_levels = strides, num_outs, num_encoded
        self.input_convs = nn.ModuleList(
            ConvModule(c, feat_channels, 1, norm_cfg=norm_cfg, act_cfg=None, bias=True)
            for c in reversed(in_channels[-num_encoded:])
        )
        self.encoder = build_part(encoder, DeformableEncoder)
        self.positional_encoding = build_positional_encoding(positional_encoding, self.encoder.embed_dims)
        self.level_encoding = nn.Embedding(num_encoded, feat_channels)

    def init_weights(self) -> None:
        """Initialize as the config says, convolutions and the encoder by Xavier, deformable attention as its paper."""
        super().init_weights()
        # after ``super``, whose initialization of all convolutions and of the encoder is another one
        for conv in self.input_convs:
            xavier_init(conv.conv, gain=1, bias=0, distribution='uniform')
        normal_init(self.level_encoding, mean=0, std=1)
        for parameter in self.encoder.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_normal_(parameter)
        for layer in self.encoder.layers:
            layer.self_attn.init_weights()

    def forward(self, feats: Sequence[Tensor], masks: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """As ``TopDownPath.forward``, with ``num_outs`` maps; padding is encoded as image, so masks aren't used."""
        coarse = [conv(feat) for conv, feat in zip(self.input_convs, reversed(feats[-self.num_encoder_levels :]))]
        # as recorded of the original, without padding masks
        pyramid = flatten_pyramid(coarse, None, self.positional_encoding, self.level_encoding.weight)
        outs = pyramid.as_maps(self.encoder.encode(pyramid))
        outs += self.descend(feats[: -self.num_encoder_levels], outs[-1])
        return self.mask_feature(outs[-1]), outs[: self.num_outs]


def mask_logits(embedding: Tensor, mask_features: Tensor) -> Tensor:
    """Masks (B, Q, h, w) of embeddings (B, Q, C) on mask features (B, C, h, w)."""
    return torch.einsum('bqc,bchw->bqhw', embedding, mask_features)
