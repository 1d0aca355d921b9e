"""Masks and classes of queries: MaskFormer, arXiv 2107.06278, and Mask2Former, arXiv 2112.01527."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.layers.pixel_decoder import mask_logits
from mmdetlike.models.layers.transformer import TransformerDecoder, build_sine_encoding, mlp, padding_at
from mmdetlike.models.utils import (
    get_uncertain_point_coords_with_randomness,
    interpolate_as,
    padding_of,
    preprocess_panoptic_gt,
    require_masks,
    semantic_maps,
)
from mmdetlike.models.utils.precision import float32_if_half
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.utils.dist import mean_over_ranks
from mmdetlike_ops import point_sample

from ..common import match_queries, prefix_losses
from ..head import Head

DEFAULT_LOSS_CLS = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0, class_weight=[1.0] * 133 + [0.1])
DEFAULT_LOSS_MASK = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=20.0)
DEFAULT_LOSS_DICE = dict(type='DiceLoss', use_sigmoid=True, activate=True, naive_dice=True, loss_weight=1.0)


@MODELS.register_module()
class MaskFormerHead(Head):
    """A pixel decoder, a transformer decoder and, after each of its layers, a class and a mask for every query.

    Args:
        in_channels: Channels of the backbone's maps.
        feat_channels: Channels of queries.
        out_channels: Channels of mask features.
        num_things_classes: Classes of things.
        num_stuff_classes: Classes of stuff.
        num_queries: Segments predicted for each image, at most.
        pixel_decoder: Backbone maps -> mask features and maps to attend to.
        enforce_decoder_input_project: Project those maps even where they have ``feat_channels`` already.
        transformer_decoder: Arguments of ``TransformerDecoder``.
        positional_encoding: Arguments of ``SinePositionalEncoding``.
        loss_cls: Classification loss, with a ``class_weight`` for each class and background.
        loss_mask: Loss of mask logits at every pixel.
        loss_dice: Loss of whole masks.
        kwargs: See ``Head``.
    """

    cross_first = False

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
        **kwargs,
    ) -> None:
        super().__init__(num_things_classes + num_stuff_classes, **kwargs)
        self.num_things_classes, self.num_stuff_classes = num_things_classes, num_stuff_classes
        self.feat_channels, self.out_channels, self.num_queries = feat_channels, out_channels, num_queries
        channels = dict(in_channels=in_channels, feat_channels=feat_channels, out_channels=out_channels)
        self.pixel_decoder = MODELS.build({**pixel_decoder, **channels})
        self.transformer_decoder = TransformerDecoder(**{**transformer_decoder, 'cross_first': self.cross_first})
        self.decoder_pe = build_sine_encoding(positional_encoding, self.transformer_decoder.embed_dims)
        self.cls_embed = nn.Linear(feat_channels, self.num_classes + 1)
        self.mask_embed = mlp(feat_channels, 2, out_channels)
        self.query_embed = nn.Embedding(num_queries, feat_channels)
        self._build_decoder_inputs(in_channels, enforce_decoder_input_project)
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_mask, self.loss_dice = MODELS.build(loss_mask), MODELS.build(loss_dice)

    def _build_decoder_inputs(self, in_channels: Sequence[int], enforce: bool) -> None:
        encoder = getattr(self.pixel_decoder, 'encoder', None)
        width = in_channels[-1] if encoder is None else encoder.embed_dims
        self.decoder_input_proj = nn.Identity()
        if enforce or width != self.feat_channels:
            self.decoder_input_proj = nn.Conv2d(width, self.feat_channels, 1)

    def init_weights(self) -> None:
        """Initialise as the config says, the decoder by Xavier."""
        super().init_weights()
        for parameter in self.transformer_decoder.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, x: Sequence[Tensor], masks: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """Class logits (B, Q, classes + 1) and mask logits (B, Q, h, w) of each of ``decode``'s queries.

        Args:
            x: Maps (B, C_i, H_i, W_i) of the backbone.
            masks: (B, H, W) True for padding of the images; None where there is none.
        """
        queries, mask_features = self.decode(x, masks)
        return [self.predict_masks(query, mask_features) for query in queries]

    def decode(self, x: Sequence[Tensor], masks: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """Queries (B, Q, C) after each decoder layer, and mask features (B, C, h, w)."""
        mask_features, (memory,) = self.pixel_decoder(x, masks)
        mask = padding_at(masks, memory.shape[-2:])
        pos = self.decoder_pe(mask, input=memory).flatten(2).transpose(1, 2)
        memory = self.decoder_input_proj(memory).flatten(2).transpose(1, 2)
        query_pos = self.query_embed.weight.expand(len(memory), -1, -1)
        attend = dict(key=memory, value=memory, key_pos=pos)
        if mask is not None:
            attend['key_padding_mask'] = mask.flatten(1)
        hidden = self.transformer_decoder(torch.zeros_like(query_pos), query_pos=query_pos, **attend)
        return hidden, mask_features

    def predict_masks(self, queries: Tensor, mask_features: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits and mask logits of queries (B, Q, C)."""
        return self.cls_embed(queries), mask_logits(self.mask_embed(queries), mask_features)

    def loss(self, x: Sequence[Tensor], batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Loss terms of all layers: ``loss_*`` of the last one, ``d0.loss_*``, ... of the others."""
        layers = [float32_if_half(*layer) for layer in self(x, padding_of(batch_data_samples, x[0].device))]
        gts, losses = [self.segments(sample) for sample in batch_data_samples], {}
        for i, (cls_score, masks) in enumerate(layers):
            found = self.match(cls_score, masks, gts, batch_data_samples)
            losses.update(prefix_losses(self.losses(cls_score, masks, gts, found), i, len(layers)))
        return losses

    def segments(self, sample) -> InstanceData:
        """The ``labels`` (n,) and ``masks`` (n, h, w), 0.0 or 1.0, of all things and stuff of a sample.

        Raises:
            ValueError: The sample has no masks of its objects, or no ``gt_sem_seg`` though there are classes of stuff.
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
        found = []
        for logits, pred, gt, sample in zip(cls_score, masks, gts, samples):
            pred, gt_masks = self.comparable(pred, gt.masks)
            segments = InstanceData(labels=gt.labels, masks=gt_masks)
            found.append(match_queries(self.assigner, InstanceData(scores=logits, masks=pred), segments, sample))
        return found

    def comparable(self, pred: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits (Q, h, w) and segments (n, H, W) as they are matched, at the same pixels."""
        return pred, F.interpolate(gt[:, None], pred.shape[-2:], mode='nearest')[:, 0]

    def losses(
        self, cls_score: Tensor, masks: Tensor, gts: Sequence[InstanceData], found: Sequence[tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        """``cls`` of all queries, ``mask`` and ``dice`` of the positives."""
        labels = torch.full(cls_score.shape[:2], self.num_classes, device=cls_score.device)
        for row, gt, (queries, segments) in zip(labels, gts, found):
            row[queries] = gt.labels[segments]
        labels = labels.flatten()
        weights = self.loss_cls.class_weight
        weight = labels.numel() if weights is None else weights.to(cls_score.dtype)[labels].sum()
        loss_cls = self.loss_cls(cls_score.flatten(0, 1), labels, avg_factor=weight)
        pred = torch.cat([image[queries] for image, (queries, _) in zip(masks, found)])
        gt = torch.cat([gt.masks[segments] for gt, (_, segments) in zip(gts, found)])
        num_masks = max(mean_over_ranks(len(pred), pred.device), 1.0)
        if not len(pred):
            return dict(cls=loss_cls, mask=masks.sum() * 0, dice=masks.sum() * 0)
        return dict(cls=loss_cls, **self.mask_losses(pred, gt, num_masks))

    def mask_losses(self, pred: Tensor, gt: Tensor, num_masks: float) -> dict[str, Tensor]:
        """``mask`` and ``dice`` of mask logits (P, h, w) and segments (P, H, W)."""
        pred = F.interpolate(pred[:, None], gt.shape[-2:], mode='bilinear', align_corners=False)[:, 0]
        dice = self.loss_dice(pred, gt, avg_factor=num_masks)
        # the focal loss takes class 0 for the object, others for background
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
        num_transformer_feat_level: Levels that the decoder attends to, one in each layer in turn.
        kwargs: See ``MaskFormerHead``; ``train_cfg`` has ``num_points``, ``oversample_ratio`` and
            ``importance_sample_ratio``.
    """

    cross_first = True

    def __init__(
        self,
        *args,
        strides: Sequence[int] = (4, 8, 16, 32),
        num_transformer_feat_level: int = 3,
        pixel_decoder: dict,
        **kwargs,
    ) -> None:
        self.num_transformer_feat_level = num_transformer_feat_level
        super().__init__(*args, pixel_decoder=dict(pixel_decoder, strides=strides), **kwargs)

    def _build_decoder_inputs(self, in_channels: Sequence[int], enforce: bool) -> None:
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
        levels = [self._level(i, memory) for i, memory in enumerate(memories)]
        query = self.query_feat.weight.expand(len(x[0]), -1, -1)
        query_pos = self.query_embed.weight.expand(len(x[0]), -1, -1)
        small = [interpolate_as(mask_features.detach(), memory) for memory in memories]
        decoder = self.transformer_decoder
        outs = [decoder.post_norm(query)]
        for i, layer in enumerate(decoder.layers):
            memory, pos = levels[i % len(levels)]
            hidden = self._outside(outs[-1], small[i % len(levels)], layer.cross_attn.num_heads)
            query = layer(query, query_pos, key=memory, value=memory, key_pos=pos, attn_mask=hidden)
            outs.append(decoder.post_norm(query))
        return outs, mask_features

    def _level(self, index: int, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (B, S, C) of a level and their positions."""
        pixels = self.decoder_input_projs[index](memory).flatten(2).transpose(1, 2)
        pos = self.decoder_pe(None, input=memory).flatten(2).transpose(1, 2)
        return pixels + self.level_embed.weight[index], pos

    @torch.no_grad()
    def _outside(self, query: Tensor, mask_features: Tensor, num_heads: int) -> Tensor:
        """(B * num_heads, Q, S) True where a query's mask is not; a query without mask looks everywhere.

        The mask features are those at the size of the level: scaling them down and drawing masks with them is the same
        as scaling the masks down, and far less work.
        """
        outside = mask_logits(self.mask_embed(query), mask_features).flatten(2) < 0
        outside = outside & ~outside.all(-1, keepdim=True)
        return outside[:, None].expand(-1, num_heads, -1, -1).flatten(0, 1)

    def comparable(self, pred: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
        """Both at the same random points."""
        points = torch.rand(1, self.train_cfg.num_points, 2, device=pred.device)
        return tuple(point_sample(masks[:, None], points.expand(len(masks), -1, -1))[:, 0] for masks in (pred, gt))

    def mask_losses(self, pred: Tensor, gt: Tensor, num_masks: float) -> dict[str, Tensor]:
        """``mask`` and ``dice`` at points of mask logits (P, h, w), rather where they are uncertain."""
        cfg = self.train_cfg
        with torch.no_grad():
            points = get_uncertain_point_coords_with_randomness(
                pred[:, None], None, cfg.num_points, cfg.oversample_ratio, cfg.importance_sample_ratio
            )
            gt = point_sample(gt[:, None], points)[:, 0]
        pred = point_sample(pred[:, None], points)[:, 0]
        dice = self.loss_dice(pred, gt, avg_factor=num_masks)
        mask = self.loss_mask(pred.flatten(), gt.flatten(), avg_factor=num_masks * cfg.num_points)
        return dict(mask=mask, dice=dice)
