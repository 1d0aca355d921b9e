"""Tiny configs of detectors whose region heads have features, stages or branches of their own."""

import copy

from tests.models.tiny import L1, config

from .common import GROUPS, NUM_STUFF, SEGMENTS, family, parts
from .two_stage import cascade, extractor, mask_head, mask_rcnn


@family
def double_heads(num_classes: int = 3) -> dict:
    cfg = copy.deepcopy(config('faster_rcnn', num_classes))
    cfg['roi_head'].update(
        type='DoubleHeadRoIHead',
        reg_roi_scale_factor=1.3,
        bbox_head=dict(
            type='DoubleConvFCBBoxHead',
            num_convs=1,
            num_fcs=1,
            in_channels=8,
            conv_out_channels=16,
            fc_out_channels=16,
            roi_feat_size=3,
            num_classes=num_classes,
            norm_cfg=GROUPS,
            loss_bbox=L1,
        ),
    )
    return cfg


@family
def ms_rcnn(num_classes: int = 3) -> dict:
    cfg = mask_rcnn(num_classes)
    cfg['type'] = 'MaskScoringRCNN'
    cfg['roi_head'].update(
        type='MaskScoringRoIHead',
        mask_iou_head=dict(
            type='MaskIoUHead',
            num_convs=2,
            num_fcs=1,
            roi_feat_size=4,
            in_channels=8,
            conv_out_channels=8,
            fc_out_channels=16,
            num_classes=num_classes,
        ),
    )
    # with random weights masks of a higher threshold would miss their objects, and their overlaps not be learned
    cfg['train_cfg']['rcnn']['mask_thr_binary'] = -1.0
    return cfg


@family
def keypoint_rcnn(num_classes: int = 3) -> dict:
    cfg = copy.deepcopy(config('faster_rcnn', num_classes))
    cfg['type'] = 'KeypointRCNN'
    cfg['roi_head'].update(
        type='KeypointRoIHead',
        keypoint_roi_extractor=extractor(4),
        keypoint_head=dict(type='DeconvKeypointHead', num_keypoints=4, num_convs=1, in_channels=8, conv_out_channels=8),
    )
    return cfg


@family
def grid_rcnn(num_classes: int = 3) -> dict:
    cfg = copy.deepcopy(config('faster_rcnn', num_classes))
    cfg['type'] = 'GridRCNN'
    cfg['roi_head'].update(
        type='GridRoIHead',
        grid_roi_extractor=extractor(4),
        grid_head=dict(
            type='GridHead',
            num_convs=1,
            roi_feat_size=4,
            in_channels=8,
            point_feat_channels=4,
            norm_cfg=GROUPS,
        ),
    )
    cfg['roi_head']['bbox_head']['with_reg'] = False
    cfg['train_cfg'] = dict(cfg['train_cfg'], rcnn=dict(cfg['train_cfg']['rcnn'], pos_radius=1, max_num_grid=16))
    return cfg


@family
def sabl_cascade(num_classes: int = 3) -> dict:
    cfg = cascade(copy.deepcopy(config('faster_rcnn', num_classes)), 'CascadeRoIHead')
    cfg['roi_head']['bbox_head'] = [
        dict(
            type='SABLHead',
            num_classes=num_classes,
            cls_in_channels=8,
            reg_in_channels=8,
            roi_feat_size=3,
            reg_pre_num=1,
            cls_out_channels=16,
            reg_offset_out_channels=8,
            reg_cls_out_channels=8,
            num_reg_fcs=1,
            bbox_coder=dict(type='BucketingBBoxCoder', num_buckets=6, scale_factor=scale_factor),
            # gradients that are not signs alone, which might cancel out
            loss_bbox_reg=dict(type='SmoothL1Loss', beta=1.0),
        )
        for scale_factor in (1.7, 1.5, 1.3)
    ]
    return cfg


def dynamic_conv(size: int, **changes) -> dict:
    """Config of a layer that filters region features of a size."""
    return dict(dict(type='DynamicConv', in_channels=8, feat_channels=4, input_feat_shape=size), **changes)


@family
def sparse_rcnn(num_classes: int = 3) -> dict:
    cfg = parts(type='SparseRCNN')
    cfg['rpn_head'] = dict(type='EmbeddingRPNHead', num_proposals=12, proposal_feature_channel=8)
    cfg['roi_head'] = dict(
        type='SparseRoIHead',
        num_stages=2,
        stage_loss_weights=[1, 1],
        proposal_feature_channel=8,
        bbox_roi_extractor=extractor(3),
        bbox_head=dict(
            type='DIIHead',
            num_classes=num_classes,
            num_heads=2,
            num_reg_fcs=1,
            feedforward_channels=16,
            in_channels=8,
            dynamic_conv_cfg=dynamic_conv(3),
        ),
    )
    costs = [
        dict(type='FocalLossCost', weight=2.0),
        dict(type='BBoxL1Cost', weight=5.0, box_format='xyxy'),
        dict(type='IoUCost', iou_mode='giou', weight=2.0),
    ]
    rcnn = dict(
        assigner=dict(type='HungarianAssigner', match_costs=costs), sampler=dict(type='PseudoSampler'), pos_weight=1
    )
    cfg.update(train_cfg=dict(rpn=None, rcnn=rcnn), test_cfg=dict(rpn=None, rcnn=dict(max_per_img=20)))
    return cfg


@family
def queryinst(num_classes: int = 3) -> dict:
    cfg = sparse_rcnn(num_classes)
    cfg.update(type='QueryInst', data_preprocessor=dict(cfg['data_preprocessor'], pad_mask=True))
    dice = dict(type='DiceLoss', loss_weight=8.0, activate=False, eps=1e-5)
    head = mask_head(num_classes, type='DynamicMaskHead', norm_cfg=GROUPS, loss_mask=dice)
    cfg['roi_head'].update(
        mask_roi_extractor=extractor(4),
        mask_head=dict(head, dynamic_conv_cfg=dynamic_conv(4, with_proj=False)),
    )
    cfg['train_cfg']['rcnn']['mask_size'] = 8
    cfg['test_cfg']['rcnn']['mask_thr_binary'] = 0.5
    return cfg


@family
def dynamic_rcnn(num_classes: int = 3) -> dict:
    cfg = copy.deepcopy(config('faster_rcnn', num_classes))
    cfg['roi_head']['type'] = 'DynamicRoIHead'
    cfg['roi_head']['bbox_head']['loss_bbox'] = dict(type='SmoothL1Loss', beta=1.0)
    settings = dict(iou_topk=5, beta_topk=2, update_iter_interval=1, initial_iou=0.4, initial_beta=1.0)
    cfg['train_cfg'] = dict(cfg['train_cfg'], rcnn=dict(cfg['train_cfg']['rcnn'], dynamic_rcnn=settings))
    return cfg


@family
def groie(num_classes: int = 3) -> dict:
    cfg = copy.deepcopy(config('faster_rcnn', num_classes))
    extract = dict(cfg['roi_head']['bbox_roi_extractor'], type='GenericRoIExtractor', aggregation='sum')
    del extract['finest_scale']
    convolution = dict(type='ConvModule', in_channels=8, out_channels=8, kernel_size=3, padding=1, inplace=False)
    attention = dict(
        type='GeneralizedAttention',
        in_channels=8,
        spatial_range=-1,
        num_heads=2,
        attention_type='0100',
        kv_stride=2,
    )
    cfg['roi_head']['bbox_roi_extractor'] = dict(extract, pre_cfg=convolution, post_cfg=attention)
    return cfg


@family
def scnet(num_classes: int = 3) -> dict:
    cfg = cascade(mask_rcnn(num_classes), 'SCNetRoIHead', 'SCNet')
    cfg['data_preprocessor'] = SEGMENTS
    for head in cfg['roi_head']['bbox_head']:
        head['type'] = 'SCNetBBoxHead'
        head['num_shared_fcs'] = 2
    cfg['roi_head'].update(
        mask_head=mask_head(num_classes, type='SCNetMaskHead', num_convs=2),
        semantic_roi_extractor=dict(extractor(4), featmap_strides=[16]),
        semantic_head=dict(
            type='SCNetSemanticHead',
            num_ins=3,
            fusion_level=1,
            seg_scale_factor=1 / 16,
            num_convs=2,
            in_channels=8,
            conv_out_channels=8,
            num_classes=num_classes + NUM_STUFF,
            loss_seg=dict(type='CrossEntropyLoss', ignore_index=255, loss_weight=0.2),
        ),
        glbctx_head=dict(
            type='GlobalContextHead',
            num_convs=2,
            in_channels=8,
            conv_out_channels=8,
            num_classes=num_classes,
            conv_to_res=True,
        ),
        feat_relay_head=dict(type='FeatureRelayHead', in_channels=16, out_conv_channels=8, roi_feat_size=2),
    )
    return cfg
