"""Heads with masks of queries, feature maps and samples with segments to call them with."""

import torch
from mmengine.structures import PixelData

from mmdetlike.structures.mask import BitmapMasks
from tests.models.tiny import make_sample
from tests.models.tiny_queries import DECODER_LAYER, DEFORMABLE, DIMS, ENCODER_LAYER, FFN, build

NORM = dict(type='GN', num_groups=4)


SINE = dict(num_feats=DIMS // 2, normalize=True)


PIXEL_DECODERS = dict(
    MaskFormerHead=dict(
        type='TransformerEncoderPixelDecoder',
        norm_cfg=NORM,
        encoder=dict(num_layers=1, layer_cfg=ENCODER_LAYER),
        positional_encoding=SINE,
    ),
    Mask2FormerHead=dict(
        type='MSDeformAttnPixelDecoder',
        num_outs=3,
        norm_cfg=NORM,
        encoder=dict(
            num_layers=1, layer_cfg=dict(self_attn_cfg=dict(DEFORMABLE, num_levels=3), ffn_cfg=FFN)
        ),
        positional_encoding=SINE,
    ),
)  # fmt: skip


MASK_LOSSES = dict(
    MaskFormerHead=dict(),
    Mask2FormerHead=dict(loss_mask=dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='mean', loss_weight=5.0)),
)


MASK_COSTS = [dict(type='ClassificationCost'), dict(type='DiceCost', pred_act=True, eps=1.0)]


def mask_head(kind, **cfg):
    settings = dict(
        in_channels=[4, 6, 8, 10],
        feat_channels=DIMS,
        out_channels=DIMS,
        num_things_classes=2,
        num_stuff_classes=2,
        num_queries=7,
        pixel_decoder=PIXEL_DECODERS[kind],
        transformer_decoder=dict(num_layers=2, layer_cfg=DECODER_LAYER, return_intermediate=True),
        positional_encoding=SINE,
        loss_cls=dict(type='CrossEntropyLoss', class_weight=[1.0] * 4 + [0.1]),
        train_cfg=dict(
            assigner=dict(type='HungarianAssigner', match_costs=MASK_COSTS), num_points=9, oversample_ratio=3.0,
            importance_sample_ratio=0.75,
        ),
        **MASK_LOSSES[kind],
    )  # fmt: skip
    return build(**{**settings, 'type': kind, **cfg})


def mask_maps(batch=2):
    generator = torch.Generator().manual_seed(0)
    sizes = zip((4, 6, 8, 10), (16, 8, 4, 2))
    return [torch.randn(batch, c, size, size, generator=generator) for c, size in sizes]


def segment_sample(count=2, index=0, shape=(64, 64)):
    sample = make_sample(count, index=index, num_classes=2, shape=shape)
    sample.set_metainfo(dict(batch_input_shape=(64, 64)))
    masks = torch.zeros(count, 64, 64, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, sample.gt_instances.bboxes.int().tolist()):
        mask[y1:y2, x1:x2] = 1
    sample.gt_instances.masks = BitmapMasks(masks.numpy(), 64, 64)
    sample.gt_sem_seg = PixelData(sem_seg=(torch.arange(64) // 32 + 2).expand(1, 64, 64).contiguous())
    return sample


KINDS = ('MaskFormerHead', 'Mask2FormerHead')


CLASSES_OF_THINGS = dict(type='CrossEntropyLoss', class_weight=[1.0] * 2 + [0.1])
