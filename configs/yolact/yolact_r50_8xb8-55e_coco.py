_base_ = './yolact_r50_1xb8-55e_coco.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', begin=0, end=55, by_epoch=True, milestones=[20, 42, 49, 52], gamma=0.1),
]
optim_wrapper = dict(optimizer=dict(lr=8e-3), clip_grad=dict(max_norm=35, norm_type=2))
auto_scale_lr = dict(base_batch_size=64)
