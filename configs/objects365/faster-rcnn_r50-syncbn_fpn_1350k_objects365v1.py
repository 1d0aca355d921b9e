# Named after version 1 but, as in the original, trained on version 2.
_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/objects365v2_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(norm_cfg=dict(type='SyncBN')), roi_head=dict(bbox_head=dict(num_classes=365)))
train_dataloader = dict(sampler=dict(type='InfiniteSampler'))

train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=1350000, val_interval=150000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', begin=0, end=1350000, by_epoch=False, milestones=[900000, 1200000], gamma=0.1),
]
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
default_hooks = dict(checkpoint=dict(interval=150000, by_epoch=False))
log_processor = dict(by_epoch=False)
