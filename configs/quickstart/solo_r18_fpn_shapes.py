_base_ = [
    '../_base_/models/solo_r50_fpn.py',
    '../_base_/datasets/shapes_instance.py',
    './shapes_schedule.py',
]

# A small detector for small pictures: a narrow ResNet-18, trained from random weights; shapes are 16 to 70 px wide.
model = dict(
    backbone=dict(depth=18, base_channels=32, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
    mask_head=dict(
        num_classes=5,
        in_channels=64,
        stacked_convs=3,
        feat_channels=64,
        scale_ranges=((1, 32), (24, 48), (40, 80), (72, 160), (120, 2048)),
        num_grids=[16, 12, 10, 6, 4],
        norm_cfg=dict(type='GN', num_groups=8),
    ),
    test_cfg=dict(max_per_img=20),
)
default_hooks = dict(checkpoint=dict(save_best='coco/segm_mAP'))
