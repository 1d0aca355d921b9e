_base_ = './dfine_l_8xb4-80e_coco.py'

model = dict(
    backbone=dict(arch='B2', affine=True, frozen_stages=-1, norm_cfg=dict(requires_grad=True), norm_eval=False),
    neck=dict(in_channels=[384, 768, 1536], num_blocks=2),
    decoder=dict(num_layers=4),
)
optim_wrapper = dict(
    optimizer=dict(lr=0.0002, weight_decay=0.0001),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
train_cfg = dict(max_epochs=132)
custom_hooks = [
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0001, update_buffers=True, priority=49),
    dict(type='PipelineSwitchHook', switch_epoch=120, switch_pipeline={{_base_.plain_pipeline}}),
]
