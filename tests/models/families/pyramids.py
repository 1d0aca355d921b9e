"""Tiny configs of detectors with necks and backbones of their own."""

import copy

from tests.models.tiny import config

from .common import family, three_stages
from .two_stage import cascade

BN = dict(type='BN', requires_grad=True)
ACT_FIRST = dict(inplace=False, order=('act', 'conv', 'norm'))
NORM_LAST = dict(norm_cfg=BN, **ACT_FIRST)


def with_neck(kind: str, num_classes: int, neck: dict) -> dict:
    """A detector of ``kind`` with another neck on the last three maps of the backbone."""
    cfg = copy.deepcopy(config(kind, num_classes))
    cfg['neck'] = dict(neck, in_channels=[8, 16, 32, 64], out_channels=8, start_level=1)
    return cfg


@family
def carafe(num_classes: int = 3) -> dict:
    upsample = dict(type='carafe', up_kernel=3, encoder_kernel=3, compressed_channels=4)
    return with_neck('faster_rcnn', num_classes, dict(type='FPN_CARAFE', num_outs=3, upsample_cfg=upsample))


@family
def nas_fpn(num_classes: int = 3) -> dict:
    cfg = with_neck('retinanet', num_classes, dict(type='NASFPN', num_outs=5, stack_times=2, norm_cfg=BN))
    cfg['bbox_head']['anchor_generator']['strides'] = [8, 16, 32, 64, 128]
    cfg['data_preprocessor']['pad_size_divisor'] = 128
    return cfg


@family
def efficientdet(num_classes: int = 3) -> dict:
    cfg = with_neck('retinanet', num_classes, dict(type='BiFPN', num_stages=2, norm_cfg=BN))
    head = dict(cfg['bbox_head'], type='EfficientDetSepBNHead', num_ins=5, norm_cfg=BN)
    head['anchor_generator'] = dict(head['anchor_generator'], strides=[8, 16, 32, 64, 128])
    head['loss_bbox'] = dict(type='HuberLoss', beta=0.1, loss_weight=50.0)
    return dict(cfg, type='EfficientDet', bbox_head=head)


@family
def fpg(num_classes: int = 3) -> dict:
    neck = dict(
        type='FPG',
        num_outs=3,
        stack_times=2,
        paths=['bu', 'td'],
        same_down_trans=dict(type='interpolation_conv', kernel_size=3, **NORM_LAST),
        same_up_trans=dict(type='conv', kernel_size=3, stride=2, padding=1, **NORM_LAST),
        across_lateral_trans=dict(type='conv', kernel_size=1, **NORM_LAST),
        across_down_trans=dict(type='interpolation_conv', kernel_size=3, **NORM_LAST),
        across_up_trans=dict(type='conv', kernel_size=3, stride=2, padding=1, **NORM_LAST),
        across_skip_trans=dict(type='identity'),
        output_trans=dict(type='last_conv', kernel_size=3, **ACT_FIRST),
        skip_inds=[(0,), (), ()],
    )
    return with_neck('faster_rcnn', num_classes, neck)


@family
def legacy(num_classes: int = 3) -> dict:
    cfg = copy.deepcopy(config('faster_rcnn', num_classes))
    coder = dict(type='LegacyDeltaXYWHBBoxCoder')
    cfg['rpn_head']['anchor_generator'].update(type='LegacyAnchorGenerator', center_offset=0.5)
    cfg['rpn_head']['bbox_coder'] = coder
    cfg['roi_head']['bbox_head']['bbox_coder'] = dict(coder, target_stds=[0.1, 0.1, 0.2, 0.2])
    cfg['roi_head']['bbox_roi_extractor']['roi_layer'].update(sampling_ratio=2, aligned=False)
    return cfg


def trident(num_classes: int, test_branch_idx: int) -> dict:
    """TridentNet whose testing runs one branch, or all of them for -1."""
    branches = dict(num_branch=3, test_branch_idx=test_branch_idx)
    cfg = copy.deepcopy(config('faster_rcnn', num_classes))
    del cfg['neck']
    cfg['type'] = 'TridentFasterRCNN'
    cfg['backbone'] = dict(type='TridentResNet', depth=50, base_channels=2, trident_dilations=[1, 2, 3], **branches)
    cfg['backbone'].update(out_indices=[2], **three_stages())
    cfg['rpn_head'].update(in_channels=32)
    cfg['rpn_head']['anchor_generator'].update(scales=[1, 2], strides=[16])
    cfg['roi_head'].update(type='TridentRoIHead', **branches)
    cfg['roi_head']['bbox_roi_extractor'].update(out_channels=32, featmap_strides=[16])
    cfg['roi_head']['bbox_head']['in_channels'] = 32
    return cfg


@family
def tridentnet(num_classes: int = 3) -> dict:
    return trident(num_classes, 1)


@family
def tridentnet_of_all_branches(num_classes: int = 3) -> dict:
    return trident(num_classes, -1)


@family
def pisa_faster_rcnn(num_classes: int = 3) -> dict:
    cfg = copy.deepcopy(config('faster_rcnn', num_classes))
    cfg['roi_head']['type'] = 'PISARoIHead'
    cfg['train_cfg']['rcnn']['sampler'].update(type='ScoreHLRSampler', k=0.5, bias=0.0)
    cfg['train_cfg']['rcnn'].update(isr=dict(k=2, bias=0), carl=dict(k=1, bias=0.2))
    return cfg


SWITCHABLE = dict(
    type='DetectoRS_ResNet',
    depth=50,
    base_channels=2,
    norm_eval=False,
    conv_cfg=dict(type='ConvAWS'),
    sac=dict(type='SAC', use_deform=True),
    stage_with_sac=[False, True, True, True],
)


@family
def detectors(num_classes: int = 3) -> dict:
    neck = dict(
        type='RFP',
        num_outs=3,
        rfp_steps=2,
        aspp_out_channels=2,
        aspp_dilations=[1, 2, 3, 1],
        rfp_backbone=dict(SWITCHABLE, rfp_inplanes=8),
    )
    cfg = cascade(with_neck('faster_rcnn', num_classes, neck), 'CascadeRoIHead')
    cfg['backbone'] = dict(SWITCHABLE, output_img=True)
    return cfg


@family
def crowddet(num_classes: int = 3) -> dict:
    cfg = copy.deepcopy(config('faster_rcnn', num_classes))
    cfg['type'] = 'CrowdDet'
    cfg['roi_head']['type'] = 'MultiInstanceRoIHead'
    cfg['roi_head']['bbox_head'].update(
        type='MultiInstanceBBoxHead',
        with_refine=True,
        num_shared_fcs=2,
        loss_cls=dict(type='CrossEntropyLoss', reduction='none'),
        loss_bbox=dict(type='SmoothL1Loss', reduction='none'),
    )
    cfg['train_cfg']['rcnn']['assigner']['type'] = 'MultiInstanceAssigner'
    cfg['train_cfg']['rcnn']['sampler']['type'] = 'MultiInsRandomSampler'
    return cfg
