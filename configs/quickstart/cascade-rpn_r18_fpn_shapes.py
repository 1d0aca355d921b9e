_base_ = './faster-rcnn_r18_fpn_shapes.py'

model = dict(
    rpn_head=dict(
        _delete_=True,
        type='CascadeRPNHead',
        num_stages=2,
        stages=[
            dict(
                type='StageCascadeRPNHead',
                in_channels=64,
                feat_channels=64,
                anchor_generator=dict(type='AnchorGenerator', scales=[3.5], ratios=[1.0], strides=[8, 16, 32]),
                adapt_cfg=dict(type='dilation', dilation=3),
                bridged_feature=True,
                with_cls=False,
                reg_decoded_bbox=True,
                bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.5, 0.5]),
                loss_bbox=dict(type='IoULoss', linear=True, loss_weight=7.0),
            ),
            dict(
                type='StageCascadeRPNHead',
                in_channels=64,
                feat_channels=64,
                anchor_generator=dict(type='AnchorGenerator', scales=[3.5], ratios=[1.0], strides=[8, 16, 32]),
                adapt_cfg=dict(type='offset'),
                reg_decoded_bbox=True,
                bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.05, 0.05, 0.1, 0.1]),
                loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=0.7),
                loss_bbox=dict(type='IoULoss', linear=True, loss_weight=7.0),
            ),
        ],
    ),
    train_cfg=dict(
        rpn=[
            dict(assigner=dict(type='RegionAssigner', center_ratio=0.2, ignore_ratio=0.5)),
            dict(
                assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.7, min_pos_iou=0.3),
                sampler=dict(type='RandomSampler', num=64, pos_fraction=0.5, add_gt_as_proposals=False),
            ),
        ],
    ),
)
