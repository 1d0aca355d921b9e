_base_ = '../mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'

model = dict(
    backbone=dict(frozen_stages=-1, norm_cfg=dict(type='GN', num_groups=32), init_cfg=None, zero_init_residual=False),
    neck=dict(norm_cfg=dict(type='GN', num_groups=32, requires_grad=True)),
    roi_head=dict(
        bbox_head=dict(
            type='Shared4Conv1FCBBoxHead',
            conv_out_channels=256,
            norm_cfg=dict(type='GN', num_groups=32, requires_grad=True),
        ),
        mask_head=dict(norm_cfg=dict(type='GN', num_groups=32, requires_grad=True)),
    ),
)

train_cfg = dict(max_epochs=73)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=73, by_epoch=True, milestones=[65, 71], gamma=0.1),
]
optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=0.0))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
