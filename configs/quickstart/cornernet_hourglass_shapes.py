_base_ = ['../_base_/datasets/shapes_detection.py', './shapes_schedule.py']

# A small detector for small pictures: narrow hourglasses, trained from random weights.
model = dict(
    type='CornerNet',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type='HourglassNet',
        downsample_times=3,
        num_stacks=1,
        stage_channels=[32, 32, 64, 96],
        stage_blocks=[1, 1, 1, 1],
        feat_channel=64,
        norm_cfg=dict(type='BN'),
    ),
    bbox_head=dict(
        type='CornerHead',
        num_classes=5,
        in_channels=64,
        num_feat_levels=1,
        corner_emb_channels=1,
        loss_heatmap=dict(type='GaussianFocalLoss', alpha=2.0, gamma=4.0, loss_weight=1.0),
        loss_embedding=dict(type='AssociativeEmbeddingLoss', pull_weight=0.1, push_weight=0.1),
        loss_offset=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
    ),
    train_cfg=None,
    test_cfg=dict(
        corner_topk=50,
        local_maximum_kernel=3,
        distance_threshold=0.5,
        score_thr=0.05,
        max_per_img=20,
        nms=dict(type='soft_nms', iou_threshold=0.5, method='gaussian'),
    ),
)
