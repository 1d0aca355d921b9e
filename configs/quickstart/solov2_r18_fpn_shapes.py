_base_ = './solo_r18_fpn_shapes.py'

model = dict(
    type='SOLOv2',
    mask_head=dict(
        _delete_=True,
        type='SOLOV2Head',
        num_classes=5,
        in_channels=64,
        stacked_convs=2,
        feat_channels=64,
        strides=[8, 8, 16, 32, 32],
        scale_ranges=((1, 32), (24, 48), (40, 80), (72, 160), (120, 2048)),
        pos_scale=0.2,
        num_grids=[16, 12, 10, 6, 4],
        cls_down_index=0,
        mask_feature_head=dict(
            feat_channels=32,
            start_level=0,
            end_level=3,
            out_channels=64,
            mask_stride=4,
            norm_cfg=dict(type='GN', num_groups=8),
        ),
        norm_cfg=dict(type='GN', num_groups=8),
        loss_mask=dict(type='DiceLoss', use_sigmoid=True, loss_weight=3.0),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
    ),
)
