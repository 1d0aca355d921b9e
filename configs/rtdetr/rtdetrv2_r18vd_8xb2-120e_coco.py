_base_ = './rtdetrv2_r50vd_8xb2-72e_coco.py'

model = dict(
    backbone=dict(depth=18, frozen_stages=-1, norm_cfg=dict(requires_grad=True), norm_eval=False),
    neck=dict(in_channels=[128, 256, 512], expansion=0.5),
    decoder=dict(num_layers=3),
)

# small backbones learn as fast as what stands on them
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=1.0))))
train_cfg = dict(max_epochs=120)
custom_hooks = [
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0001, update_buffers=True, priority=49),
    dict(type='PipelineSwitchHook', switch_epoch=117, switch_pipeline={{_base_.plain_pipeline}}),
]
