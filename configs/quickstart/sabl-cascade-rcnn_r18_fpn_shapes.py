_base_ = './cascade-rcnn_r18_fpn_shapes.py'

bbox_head = dict(
    type='SABLHead',
    num_classes=5,
    cls_in_channels=64,
    reg_in_channels=64,
    roi_feat_size=7,
    reg_pre_num=1,
    cls_out_channels=128,
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    loss_bbox_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
    loss_bbox_reg=dict(type='SmoothL1Loss', beta=0.1, loss_weight=1.0),
)
model = dict(
    roi_head=dict(
        bbox_head=[
            dict(bbox_coder=dict(type='BucketingBBoxCoder', num_buckets=14, scale_factor=scale_factor), **bbox_head)
            for scale_factor in (1.7, 1.5, 1.3)
        ]
    )
)
