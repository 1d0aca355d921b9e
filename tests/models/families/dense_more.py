"""Tiny configs of dense detectors that vary the neck, the weights of samples or how sides are encoded."""

from tests.models.tiny import NECK, config

from .common import GROUPS, STRIDES, family
from .dense import atss, dense, ssd, tower
from .dense_refined import LOOSE


@family
def dyhead(num_classes: int = 3) -> dict:
    cfg = atss(num_classes)
    blocks = dict(type='DyHead', in_channels=8, out_channels=16, num_blocks=2)
    head = dict(cfg['bbox_head'], stacked_convs=0, in_channels=16)
    return dict(cfg, neck=[NECK, blocks], bbox_head=head)


@family
def sabl_retinanet(num_classes: int = 3) -> dict:
    approxs = dict(
        type='AnchorGenerator', octave_base_scale=2, scales_per_octave=2, ratios=[0.5, 1.0, 2.0], strides=STRIDES
    )
    head = tower(
        'SABLRetinaHead',
        num_classes,
        norm_cfg=GROUPS,
        approx_anchor_generator=approxs,
        square_anchor_generator=dict(type='AnchorGenerator', scales=[2], ratios=[1.0], strides=STRIDES),
        bbox_coder=dict(type='BucketingBBoxCoder', num_buckets=6, scale_factor=3.0),
        train_cfg=dict(assigner=dict(LOOSE, type='ApproxMaxIoUAssigner')),
    )
    return dense('RetinaNet', head)


@family
def centernet_update(num_classes: int = 3) -> dict:
    ranges = [(0, 12), (8, 24), (16, 1e8)]
    head = tower('CenterNetUpdateHead', num_classes, strides=STRIDES, regress_ranges=ranges, norm_cfg=GROUPS)
    return dense('CenterNet', dict(head, loss_cls=dict(type='GaussianFocalLoss', pos_weight=0.25, neg_weight=0.75)))


PRIME = dict(isr=dict(k=2.0, bias=0.0), carl=dict(k=1.0, bias=0.2))


@family
def pisa_retinanet(num_classes: int = 3) -> dict:
    cfg = config('retinanet', num_classes)
    cfg['bbox_head'].update(type='PISARetinaHead', loss_bbox=dict(type='SmoothL1Loss', beta=0.11))
    return dict(cfg, train_cfg=dict(cfg['train_cfg'], **PRIME))


@family
def pisa_ssd(num_classes: int = 3) -> dict:
    cfg = ssd(num_classes)
    cfg['bbox_head'].update(type='PISASSDHead')
    return dict(cfg, train_cfg=dict(cfg['train_cfg'], **PRIME))


@family
def libra_retinanet(num_classes: int = 3) -> dict:
    cfg = config('retinanet', num_classes)
    cfg['bbox_head'].update(loss_bbox=dict(type='BalancedL1Loss', alpha=0.5, gamma=1.5, beta=0.11))
    blocks = dict(type='BFP', in_channels=8, num_levels=3, refine_level=1, refine_type='non_local')
    return dict(cfg, neck=[NECK, blocks])


@family
def nas_fcos(num_classes: int = 3) -> dict:
    neck = dict(type='NASFCOS_FPN', in_channels=[8, 16, 32, 64], out_channels=8, start_level=1)
    neck.update(num_outs=4, add_extra_convs=True, norm_cfg=dict(type='BN'))
    ranges = [(-1, 12), (12, 24), (20, 60), (28, 1e8)]
    head = tower('NASFCOSHead', num_classes, strides=[8, 16, 32, 64], regress_ranges=ranges, norm_cfg=GROUPS)
    return dense('NASFCOS', dict(head, stacked_convs=4), neck=dict(neck, conv_cfg=dict(type='DCNv2', deform_groups=2)))
