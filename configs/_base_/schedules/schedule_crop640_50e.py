_base_ = './schedule_1x.py'

train_cfg = dict(max_epochs=50, val_interval=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', begin=0, end=50, by_epoch=True, milestones=[30, 40], gamma=0.1),
]
optim_wrapper = dict(
    optimizer=dict(lr=0.08),
    paramwise_cfg=dict(norm_decay_mult=0, bypass_duplicate=True),
)

# 8 GPUs with 8 images each
auto_scale_lr = dict(base_batch_size=64)
