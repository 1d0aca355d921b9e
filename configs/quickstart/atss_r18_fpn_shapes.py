_base_ = [
    '../_base_/models/atss_r50_fpn.py',
    '../_base_/datasets/shapes_detection.py',
    './shapes_schedule.py',
]

# A small detector for small pictures: a narrow ResNet-18, trained from random weights.
model = dict(
    backbone=dict(depth=18, base_channels=32, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64, num_outs=3, add_extra_convs=False),
    bbox_head=dict(
        num_classes=5,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=8),
        anchor_generator=dict(octave_base_scale=4, strides=[8, 16, 32]),
    ),
)
