_base_ = './retinanet_r18_fpn_shapes.py'

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EfficientDet',
    # the deepest map halves the image 7 times
    data_preprocessor=dict(pad_size_divisor=128),
    backbone=dict(out_indices=(1, 2, 3)),
    neck=dict(
        _delete_=True,
        type='BiFPN',
        num_stages=3,
        in_channels=[64, 128, 256],
        out_channels=64,
        norm_cfg=norm_cfg,
    ),
    bbox_head=dict(
        _delete_=True,
        type='EfficientDetSepBNHead',
        num_classes=5,
        num_ins=5,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        norm_cfg=norm_cfg,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=3,
            scales_per_octave=2,
            ratios=[1.0, 0.5, 2.0],
            strides=[8, 16, 32, 64, 128],
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[1.0] * 4),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=1.5, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='HuberLoss', beta=0.1, loss_weight=50),
    ),
)
