"""Tiny configs of detectors with necks and backbones of their own."""

import copy

from tests.models.tiny import config

from .common import family

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
