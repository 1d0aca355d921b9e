"""Tiny configs of detectors whose predictions, or a teacher's, decide which priors learn an object."""

from tests.models.tiny import retina_head

from .common import STDS, family
from .dense import NEAREST, aligned, anchors, dense, gfl

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
