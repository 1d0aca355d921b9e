"""Tiny configs of detectors whose region heads have features, stages or branches of their own."""

import copy

from tests.models.tiny import L1, config

from .common import GROUPS, family
from .two_stage import extractor, mask_rcnn


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
