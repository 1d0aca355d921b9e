"""Tiny detectors whose classes are joined with the quality of their boxes: GFL, VFNet, TOOD."""

import torch

from mmdetlike.registry import MODELS
from tests.models.tiny import BACKBONE, DETECT, NECK, PREPROCESSOR

STRIDES = [8, 16, 32]
ANCHORS = dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=4, scales_per_octave=1, strides=STRIDES)
ATSS = dict(type='ATSSAssigner', topk=4)
COMMON = dict(in_channels=8, feat_channels=8, stacked_convs=2, anchor_generator=ANCHORS)
NORM = dict(norm_cfg=dict(type='GN', num_groups=2))
GIOU = dict(type='GIoULoss', loss_weight=2.0)
ACTIVATED_QFL = dict(type='QualityFocalLoss', activated=True)
RANGES = [(-1, 32), (32, 48), (48, 1e8)]
VFNET = dict(COMMON, **NORM, type='VFNetHead', strides=STRIDES, regress_ranges=RANGES)
TOOD = dict(COMMON, **NORM, type='TOODHead', loss_cls=ACTIVATED_QFL, loss_bbox=GIOU)
TOOD_TRAIN = dict(initial_assigner=ATSS, assigner=dict(type='TaskAlignedAssigner', topk=5), alpha=1, beta=2)
HEADS = {
    'gfl': dict(COMMON, **NORM, type='GFLHead', reg_max=7, loss_cls=dict(type='QualityFocalLoss'), loss_bbox=GIOU),
    'vfnet': VFNET,
    'vfnet fcos': dict(
        VFNET,
        use_atss=False,
        use_vfl=False,
        center_sampling=True,
        bbox_norm_type='stride',
        sync_num_pos=False,
        dcn_on_last_conv=True,
    ),
    'tood initial': dict(TOOD, anchor_type='anchor_based', num_dcn=1, in_channels=8, feat_channels=8),
    'tood': TOOD,
    'tood without norm': dict(TOOD, norm_cfg=None),
}
KINDS = tuple(HEADS)


def config(kind: str, num_classes: int = 3, **head) -> dict:
    """Config of a detector of ``KINDS``, with other settings of its head."""
    train = dict(TOOD_TRAIN, initial_epoch=4 * ('initial' in kind)) if 'tood' in kind else dict(assigner=ATSS)
    return dict(
        type=dict(gfl='GFL', vfnet='VFNet', tood='TOOD')[kind.split()[0]],
        backbone=BACKBONE,
        neck=NECK,
        bbox_head=dict(HEADS[kind], num_classes=num_classes, **head),
        data_preprocessor=PREPROCESSOR,
        train_cfg=dict(train, allowed_border=-1, pos_weight=-1),
        test_cfg=dict(DETECT, nms_pre=100, min_bbox_size=0),
    )


def detector(kind: str, num_classes: int = 3, **head):
    """A detector with random weights."""
    torch.manual_seed(0)
    return MODELS.build(config(kind, num_classes, **head))
