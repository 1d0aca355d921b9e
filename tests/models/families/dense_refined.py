"""Tiny configs of dense detectors that move their priors before they classify and refine them."""

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
