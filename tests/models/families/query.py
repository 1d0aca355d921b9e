"""Tiny configs of detectors that ask with queries."""

from tests.models.tiny import BACKBONE

from .common import BCE, FOCAL, GROUPS, NUM_STUFF, SEGMENTS, family, parts

DIMS = 16
ATTENTION = dict(embed_dims=DIMS, num_heads=2, dropout=0.0)
FEED = dict(embed_dims=DIMS, feedforward_channels=16, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type='ReLU', inplace=True))
POSITIONS = dict(num_feats=DIMS // 2, normalize=True)
BOX_COSTS = [
    dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
    dict(type='IoUCost', iou_mode='giou', weight=2.0),
]
BOX_LOSSES = dict(loss_bbox=dict(type='L1Loss', loss_weight=5.0), loss_iou=dict(type='GIoULoss', loss_weight=2.0))


def encoder(**attention) -> dict:
    """Arguments of an encoder of one layer."""
    return dict(num_layers=1, layer_cfg=dict(self_attn_cfg=dict(ATTENTION, **attention), ffn_cfg=FEED))


def decoder(**attention) -> dict:
    """Arguments of a decoder of two layers."""
    layer = dict(self_attn_cfg=ATTENTION, cross_attn_cfg=dict(ATTENTION, **attention), ffn_cfg=FEED)
    return dict(num_layers=2, layer_cfg=layer, return_intermediate=True)


def matcher(*costs: dict) -> dict:
    """Training settings of a query head."""
    return dict(assigner=dict(type='HungarianAssigner', match_costs=list(costs)))


def mapper(inputs: list[int], outs: int, norm_cfg: dict | None) -> dict:
    """Config of a ChannelMapper to the transformer's width."""
    layer = dict(kernel_size=1, out_channels=DIMS, act_cfg=None, norm_cfg=norm_cfg, num_outs=outs)
    return dict(type='ChannelMapper', in_channels=inputs, **layer)


@family
def detr(num_classes: int = 3) -> dict:
    loss_cls = dict(type='CrossEntropyLoss', bg_cls_weight=0.1, use_sigmoid=False, loss_weight=1.0, class_weight=1.0)
    return parts(
        type='DETR',
        num_queries=10,
        backbone=dict(BACKBONE, out_indices=(3,)),
        neck=mapper([64], 1, None),
        encoder=encoder(),
        decoder=decoder(),
        positional_encoding=POSITIONS,
        bbox_head=dict(type='DETRHead', num_classes=num_classes, embed_dims=DIMS, loss_cls=loss_cls, **BOX_LOSSES),
        train_cfg=matcher(dict(type='ClassificationCost', weight=1.0), *BOX_COSTS),
        test_cfg=dict(max_per_img=10),
    )


def deformable(kind: str, num_classes: int, **changes) -> dict:
    """Config of a detector with deformable attention on three levels."""
    levels = dict(num_levels=3, num_points=2)
    head = dict(type=f'{kind}Head', num_classes=num_classes, embed_dims=DIMS, loss_cls=dict(FOCAL, loss_weight=2.0))
    cfg = parts(
        type=kind,
        num_queries=10,
        num_feature_levels=3,
        backbone=dict(BACKBONE, out_indices=(2, 3)),
        neck=mapper([32, 64], 3, GROUPS),
        encoder=encoder(**levels),
        decoder=dict(decoder(**levels), post_norm_cfg=None),
        positional_encoding=dict(POSITIONS, offset=-0.5),
        bbox_head=dict(head, sync_cls_avg_factor=True, **BOX_LOSSES),
        train_cfg=matcher(dict(type='FocalLossCost', weight=2.0), *BOX_COSTS),
        test_cfg=dict(max_per_img=10),
    )
    return dict(cfg, **changes)


@family
def deformable_detr(num_classes: int = 3) -> dict:
    return deformable('DeformableDETR', num_classes)


@family
def deformable_detr_two_stage(num_classes: int = 3) -> dict:
    return deformable('DeformableDETR', num_classes, with_box_refine=True, as_two_stage=True)


@family
def dino(num_classes: int = 3) -> dict:
    groups = dict(dynamic=True, num_groups=None, num_dn_queries=6)
    noise = dict(label_noise_scale=0.5, box_noise_scale=1.0, group_cfg=groups)
    return deformable('DINO', num_classes, with_box_refine=True, as_two_stage=True, dn_cfg=noise)


@family
def ddq_detr(num_classes: int = 3) -> dict:
    cfg = dino(num_classes)
    cfg['bbox_head']['type'] = 'DDQDETRHead'
    return dict(cfg, type='DDQDETR', dense_topk_ratio=1.5, dqs_cfg=dict(type='nms', iou_threshold=0.8))


@family
def rt_detr(num_classes: int = 3) -> dict:
    noise = dict(group_cfg=dict(dynamic=True, num_dn_queries=6))
    layers = decoder(num_levels=3, num_points=2)
    layers.pop('return_intermediate')  # all layers are supervised
    loss_cls = dict(type='VarifocalLoss', use_sigmoid=True, alpha=0.75, gamma=2.0, loss_weight=1.0)
    return parts(
        type='RTDETR',
        num_queries=10,
        backbone=dict(BACKBONE, type='PResNet', out_indices=(1, 2, 3)),
        neck=dict(
            type='HybridEncoder',
            in_channels=[16, 32, 64],
            out_channels=DIMS,
            num_heads=2,
            feedforward_channels=16,
            num_blocks=1,
            expansion=0.5,
        ),
        decoder=layers,
        bbox_head=dict(type='RTDETRHead', num_classes=num_classes, embed_dims=DIMS, loss_cls=loss_cls, **BOX_LOSSES),
        dn_cfg=noise,
        train_cfg=matcher(dict(type='FocalLossCost', weight=2.0), *BOX_COSTS),
        test_cfg=dict(max_per_img=10),
    )


@family
def d_fine(num_classes: int = 3) -> dict:
    cfg = rt_detr(num_classes)
    arch = dict(stem=(8, 8), stages=((4, 8, 1), (4, 16, 1), (4, 32, 1), (8, 32, 2)), depth=2)
    layers = dict(cfg['decoder']['layer_cfg'])
    layers['cross_attn_cfg'] = dict(layers['cross_attn_cfg'], num_points=[1, 2, 1])
    # distributions of few bins, which are certain in some edges and not in others
    head = dict(cfg['bbox_head'], type='DFINEHead', num_bins=8)
    neck = dict(cfg['neck'], type='DFINEHybridEncoder', in_channels=[16, 32, 32])
    return dict(
        cfg,
        type='DFINE',
        backbone=dict(type='HGNetV2', arch=arch, affine=True),
        neck=neck,
        decoder=dict(cfg['decoder'], layer_cfg=layers),
        bbox_head=head,
    )


MASK_DICE = dict(type='DiceLoss', use_sigmoid=True, activate=True, naive_dice=True, eps=1.0)
DICE_COST = dict(type='DiceCost', weight=1.0, pred_act=True, eps=1.0)


def mask_classifier(kind: str, things: int, stuff: int, head: dict, train_cfg: dict, test_cfg: dict) -> dict:
    """Config of a detector that classifies masks of queries."""
    classes = dict(num_things_classes=things, num_stuff_classes=stuff)
    common = dict(
        type=f'{kind}Head',
        in_channels=[8, 16, 32, 64],
        feat_channels=DIMS,
        out_channels=DIMS,
        num_queries=8,
        positional_encoding=POSITIONS,
        transformer_decoder=decoder(),
        loss_cls=dict(
            type='CrossEntropyLoss', use_sigmoid=False, reduction='mean', class_weight=[1.0] * (things + stuff) + [0.1]
        ),
        loss_dice=MASK_DICE,
    )
    cfg = parts(
        type=kind,
        data_preprocessor=SEGMENTS,
        panoptic_head=dict(common, **classes, **head),
        panoptic_fusion_head=dict(type='MaskFormerFusionHead', **classes),
        train_cfg=dict(train_cfg, sampler=dict(type='MaskPseudoSampler')),
        test_cfg=dict(dict(panoptic_on=False, instance_on=False, semantic_on=False, max_per_image=10), **test_cfg),
    )
    del cfg['neck']
    return cfg


@family
def maskformer(num_classes: int = 3) -> dict:
    decode = dict(type='TransformerEncoderPixelDecoder', norm_cfg=GROUPS, encoder=encoder())
    head = dict(pixel_decoder=dict(decode, positional_encoding=POSITIONS), loss_mask=dict(FOCAL, loss_weight=20.0))
    costs = matcher(
        dict(type='ClassificationCost'), dict(type='FocalLossCost', weight=20.0, binary_input=True), DICE_COST
    )
    test = dict(panoptic_on=True, object_mask_thr=0.1, iou_thr=0.1)
    return mask_classifier('MaskFormer', num_classes, NUM_STUFF, head, costs, test)


def mask2former(num_classes: int, stuff: int, test_cfg: dict) -> dict:
    """Config of a Mask2Former with deformable attention in its pixel decoder."""
    layers = encoder(num_levels=3, num_points=2)
    decode = dict(type='MSDeformAttnPixelDecoder', num_outs=3, norm_cfg=GROUPS, encoder=layers)
    head = dict(pixel_decoder=dict(decode, positional_encoding=POSITIONS), loss_mask=dict(BCE, loss_weight=5.0))
    head['transformer_decoder'] = dict(decoder(), num_layers=3)
    costs = matcher(
        dict(type='ClassificationCost', weight=2.0),
        dict(type='CrossEntropyLossCost', weight=5.0, use_sigmoid=True),
        DICE_COST,
    )
    points = dict(num_points=48, oversample_ratio=3.0, importance_sample_ratio=0.75)
    return mask_classifier('Mask2Former', num_classes, stuff, head, dict(costs, **points), test_cfg)


@family
def mask2former_instance(num_classes: int = 3) -> dict:
    return mask2former(num_classes, 0, dict(instance_on=True))


@family
def mask2former_panoptic(num_classes: int = 3) -> dict:
    wanted = dict(panoptic_on=True, instance_on=True, semantic_on=True)
    return mask2former(num_classes, NUM_STUFF, dict(wanted, object_mask_thr=0.1, iou_thr=0.1, filter_low_score=True))
