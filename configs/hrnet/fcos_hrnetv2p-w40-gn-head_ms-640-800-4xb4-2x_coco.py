_base_ = './fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco.py'

model = dict(
    backbone=dict(
        extra=dict(
            stage2=dict(num_channels=[40, 80]),
            stage3=dict(num_channels=[40, 80, 160]),
            stage4=dict(num_channels=[40, 80, 160, 320]),
        ),
        init_cfg=dict(checkpoint='open-mmlab://msra/hrnetv2_w40'),
    ),
    neck=dict(in_channels=[40, 80, 160, 320]),
)

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomChoiceResize', scales=[(1333, 640), (1333, 800)], keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

train_cfg = dict(max_epochs=24)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=24, by_epoch=True, milestones=[16, 22], gamma=0.1),
]
