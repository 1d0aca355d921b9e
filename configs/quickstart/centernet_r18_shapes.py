_base_ = ['../_base_/datasets/shapes_detection.py', './shapes_schedule.py']

# A small detector for small pictures: a narrow ResNet-18, trained from random weights.
model = dict(
    type='CenterNet',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    # the neck has no shortcut to finer maps: with a stride of 32 it could not tell the shapes of small objects apart
    backbone=dict(
        type='ResNet',
        depth=18,
        base_channels=32,
        strides=(1, 2, 2, 1),
        norm_eval=False,
        norm_cfg=dict(type='BN'),
    ),
    neck=dict(
        type='CTResNetNeck',
        in_channels=256,
        num_deconv_filters=(128, 64),
        num_deconv_kernels=(4, 4),
        use_dcn=True,
    ),
    bbox_head=dict(
        type='CenterNetHead',
        num_classes=5,
        in_channels=64,
        feat_channels=64,
        loss_center_heatmap=dict(type='GaussianFocalLoss', loss_weight=1.0),
        loss_wh=dict(type='L1Loss', loss_weight=0.1),
        loss_offset=dict(type='L1Loss', loss_weight=1.0),
    ),
    train_cfg=None,
    test_cfg=dict(topk=20, local_maximum_kernel=3, max_per_img=20),
)
