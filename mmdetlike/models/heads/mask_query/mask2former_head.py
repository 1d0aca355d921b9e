"""Masks and classes of queries: Masked-attention Mask Transformer (Mask2Former), arXiv 2112.01527."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import build_part
from mmdetlike.models.layers.transformer import CrossFirstDecoder, TransformerDecoder
from mmdetlike.models.utils import get_uncertain_point_coords_with_randomness, interpolate_as
from mmdetlike.registry import MODELS
from mmdetlike_ops import point_sample

from .maskformer_head import MaskFormerHead
from .pixel_decoder import mask_logits


@MODELS.register_module()
class Mask2FormerHead(MaskFormerHead):
    """``MaskFormerHead`` with masked attention to several levels, trained on points: Mask2Former, arXiv 2112.01527.

    Args:
        strides: Stride of each backbone map, for the pixel decoder.
        num_transformer_feat_level: Levels that the decoder attends to, one in each layer in turn.
        kwargs: See ``MaskFormerHead``; ``train_cfg`` has ``num_points``, ``oversample_ratio`` and
            ``importance_sample_ratio``.

    Raises:
        ConfigError: The pixel decoder puts out another number of maps than ``num_transformer_feat_level``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        feat_channels: int,
        out_channels: int,
        pixel_decoder: dict,
        strides: Sequence[int] = (4, 8, 16, 32),
        num_transformer_feat_level: int = 3,
        **kwargs,
    ) -> None:
        # before ``super``, which calls ``build_decoder_inputs``
        self.num_transformer_feat_level = num_transformer_feat_level
        pixel_decoder = dict(pixel_decoder, strides=strides)
        super().__init__(in_channels, feat_channels, out_channels, pixel_decoder=pixel_decoder, **kwargs)
        num_maps = getattr(self.pixel_decoder, 'num_outs', 1)
        if num_maps != num_transformer_feat_level:
            raise ConfigError(
                f'num_transformer_feat_level={num_transformer_feat_level} must be the number of maps that the pixel '
                f'decoder puts out to attend to, {num_maps}'
            )

    def build_decoder(self, cfg: dict) -> TransformerDecoder:
        """A decoder whose queries attend to the image first: masks tell them where to look from the start."""
        return build_part(cfg, CrossFirstDecoder)

    def build_decoder_inputs(self, in_channels: Sequence[int], enforce: bool) -> None:
        """A projection and an embedding for each level, and learned content of the queries."""
        dims, width = self.transformer_decoder.embed_dims, self.feat_channels
        project = enforce or dims != width
        self.decoder_input_projs = nn.ModuleList(
            nn.Conv2d(width, dims, 1) if project else nn.Identity() for _ in range(self.num_transformer_feat_level)
        )
        self.query_feat = nn.Embedding(self.num_queries, width)
        self.level_embed = nn.Embedding(self.num_transformer_feat_level, width)

    def decode(self, x: Sequence[Tensor], masks: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """See ``MaskFormerHead``, with the queries before the decoder first; padding is attended to."""
        mask_features, memories = self.pixel_decoder(x)
        levels = [self.level_inputs(i, memory) for i, memory in enumerate(memories)]
        query = self.query_feat.weight.expand(len(x[0]), -1, -1)
        query_pos = self.query_embed.weight.expand(len(x[0]), -1, -1)
        # no gradient flows through where a query looks
        small = [interpolate_as(mask_features.detach(), memory) for memory in memories]
        decoder = self.transformer_decoder
        # masks are predicted, and supervised, before the first layer too, since they say where it looks
        outs = [decoder.layer_output(query)]
        for i, layer in enumerate(decoder.layers):
            # coarse, middle, fine and coarse again: as good as all levels at once, and cheaper (section 3.2.2)
            memory, pos = levels[i % len(levels)]
            outside = self.masked_attention(outs[-1], small[i % len(levels)], layer.cross_attn.num_heads)
            query = layer(query, query_pos, key=memory, value=memory, key_pos=pos, attn_mask=outside)
            outs.append(decoder.layer_output(query))
        return outs, mask_features

    def level_inputs(self, index: int, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (B, S, C) of a level and their positions."""
        pixels = self.decoder_input_projs[index](memory).flatten(2).transpose(1, 2)
        pos = self.decoder_pe(None, input=memory).flatten(2).transpose(1, 2)
        return pixels + self.level_embed.weight[index], pos

    @torch.no_grad()
    def masked_attention(self, query: Tensor, mask_features: Tensor, num_heads: int) -> Tensor:
        """(B * num_heads, Q, S) True where a query must not look: outside of its mask.

        The mask features (B, C, h, w) are those at the size of the level: scaling them down and drawing masks with them
        is the same as scaling the masks down, and far less work.
        """
        outside = mask_logits(self.mask_embed(query), mask_features).flatten(2) < 0
        # a query without a mask looks everywhere: attention to nothing has no value
        outside = outside & ~outside.all(-1, keepdim=True)
        return outside[:, None].expand(-1, num_heads, -1, -1).flatten(0, 1)

    def masks_to_match(self, pred: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
        """Both at the same random points (n, num_points): whole masks would take too much memory."""
        points = torch.rand(1, self.train_cfg.num_points, 2, device=pred.device)
        return tuple(point_sample(masks[:, None], points.expand(len(masks), -1, -1))[:, 0] for masks in (pred, gt))

    def mask_losses(self, pred: Tensor, gt: Tensor, num_masks: float) -> dict[str, Tensor]:
        """``mask`` and ``dice`` of mask logits (P, h, w) at points, most of them where the logits are uncertain."""
        cfg = self.train_cfg
        # one set of points for each mask, where its own prediction is uncertain: PointRend, arXiv 1912.08193
        with torch.no_grad():
            points = get_uncertain_point_coords_with_randomness(
                pred[:, None], None, cfg.num_points, cfg.oversample_ratio, cfg.importance_sample_ratio
            )
            gt = point_sample(gt[:, None], points)[:, 0]
        pred = point_sample(pred[:, None], points)[:, 0]
        dice = self.loss_dice(pred, gt, avg_factor=num_masks)
        mask = self.loss_mask(pred.flatten(), gt.flatten(), avg_factor=num_masks * cfg.num_points)
        return dict(mask=mask, dice=dice)
