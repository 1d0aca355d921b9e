_base_ = './retinanet_r18_fpn_shapes.py'

model = dict(
    type='RepPointsDetector',
    bbox_head=dict(
        _delete_=True,
        type='RepPointsHead',
        num_classes=5,
        in_channels=64,
        feat_channels=64,
        point_feat_channels=64,
        stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=8),
        point_strides=[8, 16, 32],
        point_base_scale=4,
    ),
    train_cfg=dict(
        _delete_=True,
        init=dict(assigner=dict(type='PointAssigner', scale=4, pos_num=1)),
        refine=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0)),
    ),
)
