_base_ = [
    '../_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/shapes_rotated_detection.py',
    './shapes_schedule.py',
]

# A small detector for small pictures: a narrow ResNet-18, trained from random weights. Anchors, deltas, overlaps and
# suppression are those of rotated boxes; the head is that of axis-aligned ones.
angle_version = 'le90'
model = dict(
    backbone=dict(depth=18, base_channels=32, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64, num_outs=3, add_extra_convs=False),
    bbox_head=dict(
        num_classes=5,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=8),
        anchor_generator=dict(
            type='FakeRotatedAnchorGenerator',
            angle_version=angle_version,
            octave_base_scale=3,
            scales_per_octave=2,
            strides=[8, 16, 32],
        ),
        bbox_coder=dict(
            _delete_=True,
            type='DeltaXYWHTRBBoxCoder',
            angle_version=angle_version,
            edge_swap=True,
            proj_xy=True,
        ),
    ),
    train_cfg=dict(assigner=dict(iou_calculator=dict(type='RBboxOverlaps2D'))),
    test_cfg=dict(nms=dict(_delete_=True, type='nms_rotated', iou_threshold=0.1)),
)
default_hooks = dict(checkpoint=dict(save_best='dota/mAP'))
