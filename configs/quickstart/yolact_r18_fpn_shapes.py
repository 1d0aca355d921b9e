_base_ = [
    '../_base_/datasets/shapes_instance.py',
    './shapes_schedule.py',
]

# A small detector for small pictures: a narrow ResNet-18, trained from random weights.
model = dict(
    type='YOLACT',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_mask=True,
        pad_size_divisor=32,
    ),
    backbone=dict(type='ResNet', depth=18, base_channels=32, out_indices=(0, 1, 2, 3), norm_eval=False),
    neck=dict(type='FPN', in_channels=[32, 64, 128, 256], out_channels=64, start_level=1, num_outs=3),
    bbox_head=dict(
        type='YOLACTHead',
        num_classes=5,
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=3,
            scales_per_octave=1,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32],
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0, 0.0, 0.0, 0.0], target_stds=[0.1, 0.1, 0.2, 0.2]),
    ),
    mask_head=dict(
        type='YOLACTProtonet',
        num_classes=5,
        in_channels=64,
        proto_channels=(64, 64, None, 64, 32),
        proto_kernel_sizes=(3, 3, -2, 3, 1),
        loss_mask_weight=6.125,
    ),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, gt_max_assign_all=False),
        allowed_border=-1,
        pos_weight=-1,
        neg_pos_ratio=3,
    ),
    test_cfg=dict(nms_pre=500, score_thr=0.05, mask_thr=0.5, iou_thr=0.5, top_k=50, max_per_img=20),
)
