_base_ = './retinanet_r18_fpn_shapes.py'

model = dict(
    type='YOLOF',
    backbone=dict(out_indices=(2,), num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1)),
    neck=dict(
        _delete_=True,
        type='DilatedEncoder',
        in_channels=128,
        out_channels=64,
        block_mid_channels=32,
        num_residual_blocks=3,
        block_dilations=[1, 2, 3],
    ),
    bbox_head=dict(
        _delete_=True,
        type='YOLOFHead',
        num_classes=5,
        in_channels=64,
        reg_decoded_bbox=True,
        anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], scales=[1, 2, 4], strides=[16]),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[1.0, 1.0, 1.0, 1.0],
            add_ctr_clamp=True,
            ctr_clamp=32,
        ),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
    ),
    train_cfg=dict(assigner=dict(_delete_=True, type='UniformAssigner', pos_ignore_thr=0.15, neg_ignore_thr=0.7)),
    test_cfg=dict(nms=dict(type='nms', iou_threshold=0.6)),
)
