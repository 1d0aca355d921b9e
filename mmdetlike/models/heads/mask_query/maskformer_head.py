"""Masks and classes of queries: MaskFormer, arXiv 2107.06278, and Mask2Former, arXiv 2112.01527."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import build_part
from mmdetlike.models.layers.transformer import (
    CrossFirstDecoder,
    TransformerDecoder,
    build_positional_encoding,
    flatten_pyramid,
    mlp,
)
from mmdetlike.models.losses import check_class_weight
from mmdetlike.models.utils import interpolate_as, padding_of, preprocess_panoptic_gt, require_masks, semantic_maps
from mmdetlike.models.utils.point_sample import get_uncertain_point_coords_with_randomness
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.utils.dist import mean_over_ranks
from mmdetlike_ops import point_sample

from ..common import match_queries, supervise_layers
from ..head import Head
from .pixel_decoder import mask_logits

DEFAULT_LOSS_CLS = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0, class_weight=[1.0] * 133 + [0.1])
DEFAULT_LOSS_MASK = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=20.0)
DEFAULT_LOSS_DICE = dict(type='DiceLoss', use_sigmoid=True, activate=True, naive_dice=True, loss_weight=1.0)


@MODELS.register_module()
class MaskFormerHead(Head):
    """A pixel decoder, a transformer decoder and, after each of its layers, a class and a mask for every query.

    Hooks: ``decoder_class``, ``build_decoder_inputs``, ``decode``, ``masks_to_match`` and ``mask_losses``.

    Args:
        in_channels: Channels of the backbone's maps.
        feat_channels, out_channels: Channels of queries, and of mask features.
        num_things_classes, num_stuff_classes: Classes of things, and of stuff.
        num_queries: Number of queries, the most segments that are found in an image.
        pixel_decoder: Backbone maps -> mask features and maps to attend to.
        enforce_decoder_input_project: Project those maps even where they have ``feat_channels`` already.
        transformer_decoder: Arguments of ``TransformerDecoder``.
        positional_encoding: Arguments of ``SinePositionalEncoding``.
        loss_cls: Classification loss, with a ``class_weight`` for each class and background; else ``ConfigError``.
        loss_mask, loss_dice: Loss of mask logits at every pixel, and of whole masks.
        train_cfg: Settings of training: ``assigner``.
    """

    gives_all_scores = False
    decoder_class = TransformerDecoder

    def __init__(
        self,
        in_channels: Sequence[int],
        feat_channels: int,
        out_channels: int,
        num_things_classes: int = 80,
        num_stuff_classes: int = 53,
        num_queries: int = 100,
        pixel_decoder: dict | None = None,
        enforce_decoder_input_project: bool = False,
        transformer_decoder: dict | None = None,
        positional_encoding: dict | None = None,
        loss_cls: dict = DEFAULT_LOSS_CLS,
        loss_mask: dict = DEFAULT_LOSS_MASK,
        loss_dice: dict = DEFAULT_LOSS_DICE,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(num_things_classes + num_stuff_classes, train_cfg, test_cfg, init_cfg)
        self.num_things_classes, self.num_stuff_classes = num_things_classes, num_stuff_classes
        self.feat_channels, self.out_channels, self.num_queries = feat_channels, out_channels, num_queries
        channels = dict(in_channels=in_channels, feat_channels=feat_channels, out_channels=out_channels)
        self.pixel_decoder = MODELS.build({**pixel_decoder, **channels})
        self.transformer_decoder = build_part(transformer_decoder, self.decoder_class)
        self.decoder_pe = build_positional_encoding(positional_encoding, self.transformer_decoder.embed_dims)
        self.cls_embed = nn.Linear(feat_channels, self.num_classes + 1)
        self.mask_embed = mlp(feat_channels, 2, out_channels)
        self.query_embed = nn.Embedding(num_queries, feat_channels)
        self.build_decoder_inputs(in_channels, enforce_decoder_input_project)
        self.loss_cls = MODELS.build(loss_cls)
        check_class_weight(self.loss_cls, self.num_classes + 1, type(self).__name__)
        self.loss_mask = MODELS.build(loss_mask)
        self.loss_dice = MODELS.build(loss_dice)

    def build_decoder_inputs(self, in_channels: Sequence[int], enforce: bool) -> None:
        """Hook: make what brings the maps to attend to to the decoder's width, even the same one with ``enforce``."""
        # a pixel decoder without an encoder hands on the coarsest map of the backbone
        encoder = getattr(self.pixel_decoder, 'encoder', None)
        width = in_channels[-1] if encoder is None else encoder.embed_dims
        self.decoder_input_proj = nn.Identity()
        if enforce or width != self.feat_channels:
            self.decoder_input_proj = nn.Conv2d(width, self.feat_channels, 1)

    def forward(self, x: Sequence[Tensor], masks: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """Class logits (B, Q, classes + 1) and mask logits (B, Q, h, w) of each of ``decode``'s queries.

        ``x`` are maps (B, C_i, H_i, W_i) of the backbone; ``masks`` (B, H, W) is True for padding of the images.
        """
        queries, mask_features = self.decode(x, masks)
        return [self.predict_masks(query, mask_features) for query in queries]

    def decode(self, x: Sequence[Tensor], masks: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """Hook: queries (B, Q, C) after each decoder layer, and mask features (B, C, h, w)."""
        mask_features, (memory,) = self.pixel_decoder(x, masks)
        pyramid = flatten_pyramid([self.decoder_input_proj(memory)], masks, self.decoder_pe)
        query_pos = self.query_embed.weight.expand(len(memory), -1, -1)
        # as in DETR, queries begin without content: what they look for is in their positions
        content = torch.zeros_like(query_pos)
        hidden_states, _ = self.transformer_decoder(content, query_pos, None, pyramid, pyramid.feats)
        return hidden_states, mask_features

    def predict_masks(self, queries: Tensor, mask_features: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits and mask logits of queries (B, Q, C)."""
        return self.cls_embed(queries), mask_logits(self.mask_embed(queries), mask_features)

    def loss(self, x: Sequence[Tensor], batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Loss terms of all layers: ``loss_*`` of the last one, ``d0.loss_*``, ... of the others."""
        layers = [float32_if_half(*layer) for layer in self(x, padding_of(batch_data_samples, x[0].device))]
        gts = [self.segments(sample) for sample in batch_data_samples]

        def matched_losses(cls_score: Tensor, masks: Tensor) -> dict[str, Tensor]:
            return self.losses(cls_score, masks, gts, self.match(cls_score, masks, gts, batch_data_samples))

        return supervise_layers(layers, matched_losses)

    def segments(self, sample) -> InstanceData:
        """The segments of a sample, things and stuff: ``labels`` (n,) and ``masks`` (n, h, w) of 0.0 and 1.0.

        ``ValueError`` without masks of the objects, or without ``gt_sem_seg`` where there are classes of stuff.
        """
        require_masks([sample], type(self).__name__)
        semantic = semantic_maps([sample])[0] if self.num_stuff_classes else None
        instances = sample.gt_instances
        labels, masks = preprocess_panoptic_gt(
            instances.labels, instances.masks, semantic, self.num_things_classes, self.num_stuff_classes
        )
        return InstanceData(labels=labels, masks=masks.float())

    @torch.no_grad()
    def match(
        self, cls_score: Tensor, masks: Tensor, gts: Sequence[InstanceData], samples: SampleList
    ) -> list[tuple[Tensor, Tensor]]:
        """For each image its positive queries and the segment of each."""
        preds, segments = [], []
        for logits, pred, gt in zip(cls_score, masks, gts):
            pred, gt_masks = self.masks_to_match(pred, gt.masks)
            preds.append(InstanceData(scores=logits, masks=pred))
            segments.append(InstanceData(labels=gt.labels, masks=gt_masks))
        return match_queries(self.assigner, preds, segments, samples)

    def masks_to_match(self, pred: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
        """Hook: mask logits (Q, h, w) and segments (n, H, W) as the assigner sees them, at the same pixels."""
        return pred, F.interpolate(gt[:, None], pred.shape[-2:], mode='nearest')[:, 0]

    def losses(
        self, cls_score: Tensor, masks: Tensor, gts: Sequence[InstanceData], matches: Sequence[tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        """``cls`` of all queries, ``mask`` and ``dice`` of the positives."""
        labels = torch.full(cls_score.shape[:2], self.num_classes, device=cls_score.device)
        for row, gt, (queries, segments) in zip(labels, gts, matches):
            row[queries] = gt.labels[segments]
        labels = labels.flatten()
        class_weights = self.loss_cls.class_weight
        # the weighted mean of softmax cross entropy: divided by the weights of the classes that queries should have
        total = labels.numel() if class_weights is None else class_weights.to(cls_score.dtype)[labels].sum()
        loss_cls = self.loss_cls(cls_score.flatten(0, 1), labels, avg_factor=total)
        pred = torch.cat([image[queries] for image, (queries, _) in zip(masks, matches)])
        gt = torch.cat([gt.masks[segments] for gt, (_, segments) in zip(gts, matches)])
        num_masks = mean_over_ranks(len(pred), pred.device, least=1.0)
        if not len(pred):  # zeros that keep gradients: all processes of a training must compute the same terms
            return dict(cls=loss_cls, mask=masks.sum() * 0, dice=masks.sum() * 0)
        return dict(cls=loss_cls, **self.mask_losses(pred, gt, num_masks))

    def mask_losses(self, pred: Tensor, gt: Tensor, num_masks: float) -> dict[str, Tensor]:
        """Hook: ``mask`` and ``dice`` of mask logits (P, h, w) and segments (P, H, W)."""
        # predictions are enlarged, not annotations reduced: thin segments would vanish
        pred = F.interpolate(pred[:, None], gt.shape[-2:], mode='bilinear', align_corners=False)[:, 0]
        dice = self.loss_dice(pred, gt, avg_factor=num_masks)
        # the focal loss of one class takes label 0 for the object and label 1 for background
        pixels = num_masks * gt.shape[-2] * gt.shape[-1]
        return dict(mask=self.loss_mask(pred.reshape(-1, 1), (1 - gt.flatten()).long(), avg_factor=pixels), dice=dice)

    def predict(self, x: Sequence[Tensor], batch_data_samples: SampleList) -> tuple[Tensor, Tensor]:
        """Class logits (B, Q, classes + 1) and mask logits (B, Q, h, w) of the last layer."""
        queries, mask_features = self.decode(x, padding_of(batch_data_samples, x[0].device))
        return float32_if_half(*self.predict_masks(queries[-1], mask_features))


@MODELS.register_module()
class Mask2FormerHead(MaskFormerHead):
    """``MaskFormerHead`` with masked attention to several levels, trained on points: Mask2Former, arXiv 2112.01527.

    Args:
        strides: Stride of each backbone map, for the pixel decoder.
        num_transformer_feat_level: Levels that the decoder attends to, one in each layer in turn; ``ConfigError`` where
            the pixel decoder puts out another number of maps.
        kwargs: See ``MaskFormerHead``; ``train_cfg`` has ``num_points``, ``oversample_ratio`` and
            ``importance_sample_ratio``.
    """

    # queries attend to the image first: masks tell them where to look from the start
    decoder_class = CrossFirstDecoder

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
