_base_ = [
    '../_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/bccd_detection.py',
    './bccd_schedule.py',
]

model = dict(
    backbone=dict(depth=18, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=128, num_outs=3, add_extra_convs=False),
    bbox_head=dict(
        num_classes=3,
        in_channels=128,
        feat_channels=128,
        stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=16),
        anchor_generator=dict(octave_base_scale=3, scales_per_octave=2, strides=[8, 16, 32]),
    ),
    # cells overlap: soft-NMS keeps neighbours that NMS would take for duplicates
    test_cfg=dict(score_thr=0.01, nms=dict(type='soft_nms', iou_threshold=0.5)),
)
optim_wrapper = dict(optimizer=dict(lr=0.0006))
