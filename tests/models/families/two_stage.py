"""Tiny configs of detectors that look at regions."""

import copy
import functools

from tests.models.tiny import L1, PREPROCESSOR, RPN_HEAD, config

from .common import FAMILIES, GROUPS, MASK_LOSS, NUM_STUFF, SEGMENTS, STDS, STRIDES, family, three_stages

for _kind in ('rpn', 'retinanet', 'fast_rcnn', 'faster_rcnn'):
    FAMILIES[_kind] = functools.partial(config, _kind)


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
def centernet2(num_classes: int = 3) -> dict:
    cfg = cascade(copy.deepcopy(config('faster_rcnn', num_classes)), 'CascadeRoIHead')
    cfg['rpn_head'] = dict(
        type='CenterNetRPNHead',
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        strides=STRIDES,
        regress_ranges=[(0, 12), (8, 24), (16, 1e8)],
        norm_cfg=GROUPS,
        loss_cls=dict(type='GaussianFocalLoss', pos_weight=0.125, neg_weight=0.375, ignore_high_fp=0.85),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
    )
    cfg['test_cfg'] = dict(cfg['test_cfg'], rcnn=dict(cfg['test_cfg']['rcnn'], mult_proposal_score=True))
    return cfg


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
def point_sup(num_classes: int = 3) -> dict:
    cfg = mask_rcnn(num_classes)
    cfg['roi_head']['type'] = 'PointSupRoIHead'
    del cfg['train_cfg']['rcnn']['mask_size']  # whole masks are not needed
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
