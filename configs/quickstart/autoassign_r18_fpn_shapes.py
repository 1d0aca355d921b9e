_base_ = './retinanet_r18_fpn_shapes.py'

model = dict(
    type='AutoAssign',
    bbox_head=dict(
        _delete_=True,
        type='AutoAssignHead',
        num_classes=5,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        strides=[8, 16, 32],
        norm_cfg=dict(type='GN', num_groups=8),
        loss_bbox=dict(type='GIoULoss', loss_weight=5.0),
    ),
    train_cfg=dict(_delete_=True),
    test_cfg=dict(nms=dict(type='nms', iou_threshold=0.6)),
)
