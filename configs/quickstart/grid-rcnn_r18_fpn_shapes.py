_base_ = './faster-rcnn_r18_fpn_shapes.py'

model = dict(
    type='GridRCNN',
    roi_head=dict(
        type='GridRoIHead',
        bbox_head=dict(with_reg=False),
        grid_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0),
            out_channels=64,
            featmap_strides=[8, 16],
            finest_scale=48,
        ),
        grid_head=dict(
            type='GridHead',
            grid_points=9,
            num_convs=2,
            in_channels=64,
            point_feat_channels=16,
            norm_cfg=dict(type='GN', num_groups=9),
            loss_grid=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=15),
        ),
    ),
    train_cfg=dict(rcnn=dict(pos_radius=1, max_num_grid=64)),
    test_cfg=dict(rcnn=dict(nms=dict(iou_threshold=0.3))),
)
