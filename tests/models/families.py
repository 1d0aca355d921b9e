"""One tiny config for each detector family; what has to hold for all of them is asserted of each.

``FAMILIES`` maps a name to a function of the number of classes (of things) that returns the config of a detector of
some ten thousand parameters for images of 64 pixels. A detector class that no entry builds fails a test.
"""

import copy
import functools

import torch

from mmdetlike.registry import MODELS
from tests.models.tiny import (
    BACKBONE,
    DETECT,
    L1,
    NECK,
    PREPROCESSOR,
    RPN_HEAD,
    config,
)

FAMILIES = {}
# families whose predictions are segments of the whole image
PANOPTIC = {'panoptic_fpn', 'maskformer', 'mask2former_panoptic'}
# classes that only others inherit from
ABSTRACT = {'TwoStageDetector', 'TwoStagePanopticSegmentor'}
NUM_STUFF = 2
WIDTH = 8
STRIDES = [8, 16, 32]
FOCAL = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25)
BCE = dict(type='CrossEntropyLoss', use_sigmoid=True)
GROUPS = dict(type='GN', num_groups=2)
TEST = dict(DETECT, nms_pre=100, min_bbox_size=0)
STDS = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2])
MASK_LOSS = dict(type='CrossEntropyLoss', use_mask=True)
SEGMENTS = dict(PREPROCESSOR, pad_mask=True, pad_seg=True)


def family(build):
    """Enter a function (num_classes) -> config under its own name."""
    FAMILIES[build.__name__] = build
    return build


def parts(**changes) -> dict:
    """Backbone, neck and preprocessor, with ``changes``."""
    return copy.deepcopy(dict(dict(backbone=BACKBONE, neck=NECK, data_preprocessor=PREPROCESSOR), **changes))


for _kind in ('rpn', 'retinanet', 'fast_rcnn', 'faster_rcnn'):
    FAMILIES[_kind] = functools.partial(config, _kind)


def three_stages() -> dict:
    """Arguments of a ResNet without its last stage."""
    return dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1))


# -- two stages ------------------------------------------------------------------------------------------------------


def extractor(size: int) -> dict:
    """Config of a SingleRoIExtractor for the maps of ``NECK``."""
    align = dict(type='RoIAlign', output_size=size, sampling_ratio=0)
    return dict(type='SingleRoIExtractor', roi_layer=align, out_channels=8, featmap_strides=STRIDES, finest_scale=24)


@family
def faster_rcnn_c4(num_classes: int = 3) -> dict:
    cfg = config('faster_rcnn', num_classes)
    del cfg['neck']
    cfg['backbone'] = dict(type='ResNet', depth=18, base_channels=64, out_indices=(2,), **three_stages())
    cfg['rpn_head'] = dict(
        RPN_HEAD,
        in_channels=256,
        anchor_generator=dict(type='AnchorGenerator', scales=[1, 2], ratios=[1.0], strides=[16]),
    )
    cfg['roi_head'] = dict(
        type='StandardRoIHead',
        shared_head=dict(type='ResLayer', depth=18, stage=3, stride=2),
        bbox_roi_extractor=dict(extractor(4), out_channels=256, featmap_strides=[16]),
        bbox_head=dict(
            type='BBoxHead',
            with_avg_pool=True,
            roi_feat_size=2,
            in_channels=512,
            num_classes=num_classes,
            loss_bbox=L1,
        ),
    )
    cfg['train_cfg'] = copy.deepcopy(cfg['train_cfg'])
    cfg['train_cfg']['rcnn']['sampler']['num'] = 8
    return cfg


def mask_head(num_classes: int, **changes) -> dict:
    """Config of a mask head for the maps of ``NECK``."""
    head = dict(type='FCNMaskHead', num_convs=1, in_channels=8, conv_out_channels=8, num_classes=num_classes)
    return dict(dict(head, loss_mask=MASK_LOSS), **changes)


@family
def mask_rcnn(num_classes: int = 3) -> dict:
    cfg = copy.deepcopy(config('faster_rcnn', num_classes))
    cfg.update(type='MaskRCNN', data_preprocessor=dict(PREPROCESSOR, pad_mask=True))
    cfg['roi_head'].update(mask_roi_extractor=extractor(4), mask_head=mask_head(num_classes))
    cfg['train_cfg']['rcnn']['mask_size'] = 8
    cfg['test_cfg']['rcnn']['mask_thr_binary'] = 0.5
    return cfg


def cascade(cfg: dict, kind: str, detector: str = 'CascadeRCNN') -> dict:
    """``cfg`` of one stage with three of them."""
    head = dict(cfg['roi_head']['bbox_head'], reg_class_agnostic=True)
    stages = [{**head, 'bbox_coder': {**STDS, 'target_stds': [s, s, 2 * s, 2 * s]}} for s in (0.1, 0.05, 0.033)]
    rcnn = cfg['train_cfg']['rcnn']
    thresholds = [dict(rcnn['assigner'], pos_iou_thr=t, neg_iou_thr=t, min_pos_iou=t) for t in (0.5, 0.6, 0.7)]
    cfg['type'] = detector
    cfg['train_cfg'] = dict(cfg['train_cfg'], rcnn=[dict(rcnn, assigner=assigner) for assigner in thresholds])
    cfg['roi_head'].update(type=kind, num_stages=3, stage_loss_weights=[1, 0.5, 0.25], bbox_head=stages)
    return cfg


@family
def cascade_rcnn(num_classes: int = 3) -> dict:
    return cascade(copy.deepcopy(config('faster_rcnn', num_classes)), 'CascadeRoIHead')


@family
def cascade_mask_rcnn(num_classes: int = 3) -> dict:
    return cascade(mask_rcnn(num_classes), 'CascadeRoIHead')


@family
def htc(num_classes: int = 3) -> dict:
    cfg = cascade(mask_rcnn(num_classes), 'HybridTaskCascadeRoIHead', 'HybridTaskCascade')
    cfg['data_preprocessor'] = SEGMENTS
    head = mask_head(num_classes, type='HTCMaskHead')
    cfg['roi_head'].update(
        mask_head=[dict(head, with_conv_res=False), head, head],
        semantic_roi_extractor=dict(extractor(4), featmap_strides=[16]),
        semantic_head=dict(
            type='FusedSemanticHead',
            num_ins=3,
            fusion_level=1,
            seg_scale_factor=1 / 16,
            num_convs=1,
            in_channels=8,
            conv_out_channels=8,
            num_classes=num_classes + NUM_STUFF,
            loss_seg=dict(type='CrossEntropyLoss', ignore_index=255, loss_weight=0.2),
        ),
    )
    return cfg


@family
def point_rend(num_classes: int = 3) -> dict:
    cfg = mask_rcnn(num_classes)
    cfg['type'] = 'PointRend'
    cfg['roi_head'].update(
        type='PointRendRoIHead',
        mask_roi_extractor=dict(
            type='GenericRoIExtractor',
            aggregation='concat',
            roi_layer=dict(type='SimpleRoIAlign', output_size=6),
            out_channels=8,
            featmap_strides=[8],
        ),
        mask_head=mask_head(
            num_classes, type='CoarseMaskHead', num_convs=0, num_fcs=1, fc_out_channels=16, roi_feat_size=6
        )
        | dict(downsample_factor=2),
        point_head=dict(
            type='MaskPointHead',
            num_fcs=2,
            in_channels=8,
            fc_channels=8,
            num_classes=num_classes,
            coarse_pred_each_layer=True,
            loss_point=MASK_LOSS,
        ),
    )
    cfg['train_cfg']['rcnn'].update(mask_size=3, num_points=9, oversample_ratio=3, importance_sample_ratio=0.75)
    cfg['test_cfg']['rcnn'].update(subdivision_steps=2, subdivision_num_points=12, scale_factor=2)
    return cfg


@family
def panoptic_fpn(num_classes: int = 3) -> dict:
    cfg = mask_rcnn(num_classes)
    cfg.update(type='PanopticFPN', data_preprocessor=SEGMENTS)
    cfg['test_cfg']['panoptic'] = dict(mask_overlap=0.5, stuff_area_limit=16)
    cfg['semantic_head'] = dict(
        type='PanopticFPNHead',
        num_things_classes=num_classes,
        num_stuff_classes=NUM_STUFF,
        in_channels=8,
        inner_channels=8,
        start_level=0,
        end_level=3,
        norm_cfg=GROUPS,
        loss_seg=dict(type='CrossEntropyLoss', ignore_index=255, loss_weight=0.5),
    )
    cfg['panoptic_fusion_head'] = dict(
        type='HeuristicFusionHead', num_things_classes=num_classes, num_stuff_classes=NUM_STUFF
    )
    return cfg


# -- dense -----------------------------------------------------------------------------------------------------------


def dense(detector: str, head: dict, **changes) -> dict:
    """Config of a detector with one dense head on the maps of ``NECK``."""
    cfg = parts(**changes)
    train_cfg = head.pop('train_cfg', {})
    return dict(cfg, type=detector, bbox_head=head, train_cfg=train_cfg, test_cfg=changes.get('test_cfg', TEST))


def tower(kind: str, num_classes: int, **changes) -> dict:
    """Config of a head with towers of one convolution."""
    head = dict(type=kind, num_classes=num_classes, in_channels=8, feat_channels=8, stacked_convs=1)
    return dict(head, loss_cls=FOCAL, **changes)


def anchors(**changes) -> dict:
    """One square anchor at each cell."""
    square = dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=2, scales_per_octave=1, strides=STRIDES)
    return dict(square, **changes)


@family
def fcos(num_classes: int = 3) -> dict:
    ranges = [(-1, 16), (16, 32), (32, 1e8)]
    return dense('FCOS', tower('FCOSHead', num_classes, strides=STRIDES, regress_ranges=ranges, norm_cfg=GROUPS))


@family
def fcos_center(num_classes: int = 3) -> dict:
    cfg = fcos(num_classes)
    cfg['bbox_head'].update(center_sampling=True, norm_on_bbox=True, centerness_on_reg=True, conv_bias=True)
    return cfg


@family
def atss(num_classes: int = 3) -> dict:
    train = dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1)
    head = tower(
        'ATSSHead',
        num_classes,
        anchor_generator=anchors(),
        bbox_coder=STDS,
        norm_cfg=GROUPS,
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        train_cfg=train,
    )
    return dense('ATSS', head)


SSD_SIZES = dict(min_sizes=[12, 24, 40], max_sizes=[24, 40, 60])


@family
def yolox(num_classes: int = 3) -> dict:
    train = dict(assigner=dict(type='SimOTAAssigner'))
    head = dict(type='YOLOXHead', num_classes=num_classes, in_channels=8, feat_channels=8, stacked_convs=1)
    return dense('YOLOX', dict(head, train_cfg=train))


def rtmdet_head(kind: str, num_classes: int, **changes) -> dict:
    """Config of a head of RTMDet."""
    train = dict(assigner=dict(type='DynamicSoftLabelAssigner', topk=13), allowed_border=-1, pos_weight=-1)
    widths = dict(in_channels=8, feat_channels=8, stacked_convs=1)
    return dict(type=kind, num_classes=num_classes, train_cfg=train, **widths, **changes)


@family
def rtmdet(num_classes: int = 3) -> dict:
    return dense('RTMDet', rtmdet_head('RTMDetSepBNHead', num_classes, with_objectness=False, exp_on_reg=True))


@family
def rtmdet_ins(num_classes: int = 3) -> dict:
    cfg = dense('RTMDet', rtmdet_head('RTMDetInsSepBNHead', num_classes))
    return dict(cfg, test_cfg=dict(cfg['test_cfg'], mask_thr_binary=0.5))


def ssd_neck(channels: list[int], inputs: list[int], **changes) -> dict:
    """Config of an SSDNeck with extra levels."""
    extra = len(channels) - len(inputs)
    strides = dict(level_strides=(2,) * extra, level_paddings=(1,) * extra)
    return dict(type='SSDNeck', in_channels=inputs, out_channels=channels, **strides, **changes)


def ssd_head(num_classes: int, channels: list[int], **changes) -> dict:
    """Config of an SSDHead."""
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.0, gt_max_assign_all=False)
    train = dict(assigner=dict(assigner, ignore_iof_thr=0.5), sampler=dict(type='PseudoSampler'), smoothl1_beta=1.0)
    generator = dict(type='SSDAnchorGenerator', scale_major=False, **changes.pop('anchors'))
    return dict(
        type='SSDHead',
        num_classes=num_classes,
        in_channels=channels,
        anchor_generator=generator,
        bbox_coder=STDS,
        train_cfg=dict(train, allowed_border=-1, pos_weight=-1, neg_pos_ratio=3),
        **changes,
    )


@family
def ssd(num_classes: int = 3) -> dict:
    # VGG is wide at any depth: ResNet's maps in its place
    channels = [16, 32, 16]
    generator = dict(SSD_SIZES, strides=[8, 16, 32], ratios=[[2], [2, 3], [2]])
    return dense(
        'SingleStageDetector',
        ssd_head(num_classes, channels, anchors=generator),
        backbone=dict(BACKBONE, out_indices=(1, 2), **three_stages()),
        neck=ssd_neck(channels, [16, 32], l2_norm_scale=20),
    )


@family
def ssdlite(num_classes: int = 3) -> dict:
    channels, layer = [16, 1280, 16], dict(norm_cfg=dict(type='BN', eps=0.001), act_cfg=dict(type='ReLU6'))
    generator = dict(strides=[16, 32, 64], ratios=[[2, 3], [2, 3], [2, 3]], **SSD_SIZES)
    return dense(
        'SingleStageDetector',
        ssd_head(num_classes, channels, anchors=generator, use_depthwise=True, **layer),
        backbone=dict(type='MobileNetV2', widen_factor=0.125, out_indices=(4, 7)),
        neck=ssd_neck(channels, [16, 1280], l2_norm_scale=None, use_depthwise=True, **layer),
    )


@family
def yolov3(num_classes: int = 3) -> dict:
    sums = dict(reduction='sum')
    head = dict(
        type='YOLOV3Head',
        num_classes=num_classes,
        in_channels=[16, 8, 8],
        out_channels=[16, 8, 8],
        anchor_generator=dict(
            type='YOLOAnchorGenerator',
            base_sizes=[[(40, 40), (60, 30)], [(20, 20), (30, 15)], [(8, 8), (12, 6)]],
            strides=[32, 16, 8],
        ),
        bbox_coder=dict(type='YOLOBBoxCoder'),
        featmap_strides=[32, 16, 8],
        loss_cls=dict(BCE, **sums),
        loss_conf=dict(BCE, **sums),
        loss_xy=dict(BCE, loss_weight=2.0, **sums),
        loss_wh=dict(type='MSELoss', loss_weight=2.0, **sums),
        train_cfg=dict(assigner=dict(type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0)),
    )
    return dense(
        'YOLOV3',
        head,
        backbone=dict(BACKBONE, out_indices=(1, 2, 3)),
        neck=dict(type='YOLOV3Neck', num_scales=3, in_channels=[64, 32, 16], out_channels=[16, 8, 8]),
        test_cfg=dict(TEST, conf_thr=0.005),
    )


# -- queries ---------------------------------------------------------------------------------------------------------

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


# -- masks of queries ------------------------------------------------------------------------------------------------

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


# -- how to call them ------------------------------------------------------------------------------------------------


@functools.cache
def _built(name: str, num_classes: int):
    torch.manual_seed(0)
    model = MODELS.build(FAMILIES[name](num_classes))
    for parameter in model.parameters():
        if not parameter.any():  # zeros keep gradients from what comes before, e.g. from sampling offsets
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def build(name: str, num_classes: int = 3):
    """A detector of a family, with random weights, none zero; a copy of its own for each caller."""
    return copy.deepcopy(_built(name, num_classes))
