_base_ = '../mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'

model = dict(
    backbone=dict(
        norm_cfg=dict(type='GN', num_groups=32),
        init_cfg=dict(checkpoint='open-mmlab://jhu/resnet50_gn_ws'),
        conv_cfg=dict(type='ConvWS'),
    ),
    neck=dict(conv_cfg=dict(type='ConvWS'), norm_cfg=dict(type='GN', num_groups=32, requires_grad=True)),
    roi_head=dict(
        bbox_head=dict(
            type='Shared4Conv1FCBBoxHead',
            conv_out_channels=256,
            conv_cfg=dict(type='ConvWS'),
            norm_cfg=dict(type='GN', num_groups=32, requires_grad=True),
        ),
        mask_head=dict(conv_cfg=dict(type='ConvWS'), norm_cfg=dict(type='GN', num_groups=32, requires_grad=True)),
    ),
)

train_cfg = dict(max_epochs=24)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=24, by_epoch=True, milestones=[20, 23], gamma=0.1),
]
