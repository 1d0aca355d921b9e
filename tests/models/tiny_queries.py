"""Query detectors of a few thousand parameters, and feature maps to call them with."""

import torch

from mmdetlike.registry import MODELS
from tests.models.tiny import BACKBONE

DIMS = 16


ATTENTION = dict(embed_dims=DIMS, num_heads=2)


DEFORMABLE = dict(embed_dims=DIMS, num_heads=2, num_levels=2, num_points=2)


FFN = dict(embed_dims=DIMS, feedforward_channels=20)


ENCODER_LAYER = dict(self_attn_cfg=ATTENTION, ffn_cfg=FFN)


DECODER_LAYER = dict(self_attn_cfg=ATTENTION, cross_attn_cfg=ATTENTION, ffn_cfg=FFN)


DEFORMABLE_ENCODER = dict(num_layers=1, layer_cfg=dict(self_attn_cfg=DEFORMABLE, ffn_cfg=FFN))


DEFORMABLE_DECODER = dict(
    num_layers=2, layer_cfg=dict(self_attn_cfg=ATTENTION, cross_attn_cfg=DEFORMABLE, ffn_cfg=FFN), post_norm_cfg=None
)


FOCAL = dict(type='FocalLoss', use_sigmoid=True)


COSTS = [dict(type='ClassificationCost'), dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'), dict(type='IoUCost')]


FOCAL_COSTS = [dict(type='FocalLossCost'), *COSTS[1:]]


def build(seed=0, **cfg):
    torch.manual_seed(seed)
    return MODELS.build(cfg).eval()


def neck(levels):
    return dict(type='ChannelMapper', in_channels=[32, 64][-levels:], out_channels=DIMS, kernel_size=1, num_outs=levels)


def parts(levels, costs):
    return dict(
        backbone=dict(BACKBONE, out_indices=(2, 3)[-levels:]),
        neck=neck(levels),
        positional_encoding=dict(num_feats=DIMS // 2, normalize=True),
        train_cfg=dict(assigner=dict(type='HungarianAssigner', match_costs=costs)),
        test_cfg=dict(max_per_img=5),
    )


def detr(**cfg):
    head = dict(type='DETRHead', num_classes=3, embed_dims=DIMS)
    encoder = dict(num_layers=1, layer_cfg=ENCODER_LAYER)
    decoder = dict(num_layers=2, layer_cfg=DECODER_LAYER)
    return build(
        **{**parts(1, COSTS), 'type': 'DETR', 'num_queries': 6, 'encoder': encoder, 'decoder': decoder,
           'bbox_head': head, **cfg}
    )  # fmt: skip


def deformable(kind='DeformableDETR', head='DeformableDETRHead', **cfg):
    settings = dict(num_queries=6, encoder=DEFORMABLE_ENCODER, decoder=DEFORMABLE_DECODER, num_feature_levels=2)
    bbox_head = dict(type=head, num_classes=3, embed_dims=DIMS, loss_cls=FOCAL)
    return build(**{**parts(2, FOCAL_COSTS), **settings, 'bbox_head': bbox_head, 'type': kind, **cfg})


def two_stage():
    return deformable(as_two_stage=True, with_box_refine=True)


def dino(**cfg):
    groups = dict(dynamic=True, num_dn_queries=8)
    settings = dict(as_two_stage=True, with_box_refine=True, dn_cfg=dict(group_cfg=groups))
    return deformable('DINO', 'DINOHead', **{**settings, **cfg})


def features(batch=2, size=64, strides=(16, 32)):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, DIMS, size // s, size // s, generator=generator) for s in strides]
