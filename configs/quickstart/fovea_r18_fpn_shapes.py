_base_ = './retinanet_r18_fpn_shapes.py'

model = dict(
    type='FOVEA',
    bbox_head=dict(
        _delete_=True,
        type='FoveaHead',
        num_classes=5,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        strides=[8, 16, 32],
        base_edge_list=[12, 24, 48],
        scale_ranges=((1, 32), (16, 64), (32, 2048)),
        sigma=0.4,
        with_deform=True,
        deform_groups=4,
        norm_cfg=dict(type='GN', num_groups=8),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=1.50, alpha=0.4, loss_weight=1.0),
        loss_bbox=dict(type='SmoothL1Loss', beta=0.11, loss_weight=1.0),
    ),
    train_cfg=dict(_delete_=True),
)
