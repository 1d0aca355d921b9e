"""Tiny configs of detectors whose predictions, or a teacher's, decide which priors learn an object."""

from tests.models.tiny import BACKBONE, retina_head

from .common import FOCAL, GROUPS, STDS, STRIDES, family, three_stages
from .dense import NEAREST, aligned, anchors, dense, gfl, tower

SMOOTH = dict(type='SmoothL1Loss', beta=0.11, loss_weight=0.75)


@family
def free_anchor(num_classes: int = 3) -> dict:
    head = retina_head(num_classes)
    head.update(type='FreeAnchorRetinaHead', bbox_coder=STDS, loss_bbox=SMOOTH, pre_anchor_topk=10)
    return dense('RetinaNet', head)


LOOSE = dict(type='MaxIoUAssigner', pos_iou_thr=0.1, neg_iou_thr=0.1, min_pos_iou=0)


@family
def paa(num_classes: int = 3) -> dict:
    return aligned('PAA', num_classes, LOOSE, anchor_generator=anchors(), bbox_coder=STDS, topk=4)


@family
def lad(num_classes: int = 3) -> dict:
    cfg = paa(num_classes)
    teacher = dict(teacher_backbone=cfg['backbone'], teacher_neck=cfg['neck'], teacher_bbox_head=cfg['bbox_head'])
    return dict(cfg, type='LAD', bbox_head=dict(cfg['bbox_head'], type='LADHead'), **teacher)


@family
def ld(num_classes: int = 3) -> dict:
    cfg = gfl(num_classes)
    head = dict(cfg['bbox_head'], type='LDHead')
    return dict(cfg, type='KnowledgeDistillationSingleStageDetector', bbox_head=head, teacher_config=dict(model=cfg))


@family
def ddod(num_classes: int = 3) -> dict:
    regression = dict(reg_assigner=dict(NEAREST, alpha=0.5))
    return aligned(
        'DDOD',
        num_classes,
        dict(NEAREST, alpha=0.8),
        anchor_generator=anchors(),
        bbox_coder=STDS,
        train_cfg=regression,
    )


@family
def fsaf(num_classes: int = 3) -> dict:
    head = tower(
        'FSAFHead',
        num_classes,
        norm_cfg=GROUPS,
        anchor_generator=anchors(octave_base_scale=1),
        bbox_coder=dict(type='TBLRBBoxCoder', normalizer=4.0),
        reg_decoded_bbox=True,
        loss_bbox=dict(type='IoULoss', eps=1e-6),
        train_cfg=dict(assigner=dict(type='CenterRegionAssigner', pos_scale=0.2, neg_scale=0.2), allowed_border=-1),
    )
    return dense('FSAF', head)


@family
def fovea(num_classes: int = 3) -> dict:
    scales = dict(base_edge_list=[8, 16, 32], scale_ranges=[(1, 24), (12, 48), (24, 256)])
    return dense('FOVEA', tower('FoveaHead', num_classes, strides=STRIDES, norm_cfg=GROUPS, loss_bbox=SMOOTH, **scales))


@family
def fovea_aligned(num_classes: int = 3) -> dict:
    cfg = fovea(num_classes)
    cfg['bbox_head'].update(with_deform=True, deform_groups=2)
    return cfg


@family
def autoassign(num_classes: int = 3) -> dict:
    loss_bbox = dict(type='GIoULoss', loss_weight=5.0)
    return dense(
        'AutoAssign', tower('AutoAssignHead', num_classes, strides=STRIDES, norm_cfg=GROUPS, loss_bbox=loss_bbox)
    )


@family
def yolof(num_classes: int = 3) -> dict:
    head = dict(
        type='YOLOFHead',
        num_classes=num_classes,
        in_channels=8,
        num_cls_convs=1,
        num_reg_convs=1,
        norm_cfg=GROUPS,
        anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], scales=[1, 2], strides=[16]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', add_ctr_clamp=True, ctr_clamp=32),
        loss_cls=FOCAL,
        loss_bbox=dict(type='GIoULoss'),
        train_cfg=dict(assigner=dict(type='UniformAssigner', pos_ignore_thr=0.15, neg_ignore_thr=0.7)),
    )
    encoder = dict(in_channels=32, out_channels=8, block_mid_channels=4, num_residual_blocks=2, block_dilations=[1, 2])
    backbone = dict(BACKBONE, out_indices=(2,), **three_stages())
    return dense('YOLOF', head, backbone=backbone, neck=dict(type='DilatedEncoder', **encoder))
