"""Tiny configs of dense detectors that move their priors before they classify and refine them."""

from tests.models.tiny import config

from .common import GROUPS, STRIDES, family
from .dense import dense, tower

LOOSE = dict(type='MaxIoUAssigner', pos_iou_thr=0.1, neg_iou_thr=0.1, min_pos_iou=0)


@family
def reppoints(num_classes: int = 3, **changes) -> dict:
    train = dict(init=dict(assigner=dict(type='PointAssigner', scale=2, pos_num=1)), refine=dict(assigner=LOOSE))
    head = tower('RepPointsHead', num_classes, norm_cfg=GROUPS, point_feat_channels=8, point_strides=STRIDES)
    return dense('RepPointsDetector', dict(head, point_base_scale=2, train_cfg=train, **changes))


@family
def reppoints_minmax(num_classes: int = 3) -> dict:
    return reppoints(num_classes, transform_method='partial_minmax', center_init=False)


@family
def reppoints_grid(num_classes: int = 3) -> dict:
    return reppoints(num_classes, transform_method='minmax', use_grid_points=True)


GUIDED = dict(
    feat_channels=8,
    deform_groups=2,
    approx_anchor_generator=dict(
        type='AnchorGenerator', octave_base_scale=2, scales_per_octave=2, ratios=[0.5, 1.0, 2.0], strides=STRIDES
    ),
    square_anchor_generator=dict(type='AnchorGenerator', scales=[2], ratios=[1.0], strides=STRIDES),
)
GUIDED_TRAIN = dict(
    assigner=LOOSE,
    ga_assigner=dict(LOOSE, type='ApproxMaxIoUAssigner'),
    ga_sampler=dict(type='RandomSampler', num=64, pos_fraction=0.5, add_gt_as_proposals=False),
    center_ratio=0.2,
    ignore_ratio=0.5,
)


@family
def ga_retinanet(num_classes: int = 3) -> dict:
    head = dict(tower('GARetinaHead', num_classes, norm_cfg=GROUPS), **GUIDED)
    return dense('RetinaNet', dict(head, train_cfg=GUIDED_TRAIN))


@family
def ga_faster_rcnn(num_classes: int = 3) -> dict:
    cfg = config('faster_rcnn', num_classes)
    sampler = dict(type='RandomSampler', num=64, pos_fraction=0.5, add_gt_as_proposals=False)
    train_cfg = dict(cfg['train_cfg'], rpn=dict(GUIDED_TRAIN, sampler=sampler))
    return dict(cfg, rpn_head=dict(type='GARPNHead', in_channels=8, **GUIDED), train_cfg=train_cfg)


def proposing_stage(kind: str, **changes) -> dict:
    """Config of a StageCascadeRPNHead for the maps of ``NECK``."""
    square = dict(type='AnchorGenerator', scales=[2], ratios=[1.0], strides=STRIDES)
    stage = dict(type='StageCascadeRPNHead', in_channels=8, feat_channels=8, anchor_generator=square)
    loss_bbox = dict(type='IoULoss', linear=True)
    return dict(stage, adapt_cfg=dict(type=kind), reg_decoded_bbox=True, loss_bbox=loss_bbox, **changes)


@family
def cascade_rpn(num_classes: int = 3) -> dict:
    cfg = config('faster_rcnn', num_classes)
    stages = [proposing_stage('dilation', bridged_feature=True, with_cls=False), proposing_stage('offset')]
    sampler = dict(type='RandomSampler', num=64, pos_fraction=0.5, add_gt_as_proposals=False)
    train = [dict(assigner=dict(type='RegionAssigner')), dict(assigner=LOOSE, sampler=sampler)]
    head = dict(type='CascadeRPNHead', num_stages=2, stages=stages)
    return dict(cfg, rpn_head=head, train_cfg=dict(cfg['train_cfg'], rpn=train))
