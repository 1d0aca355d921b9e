_base_ = './dfine_m_8xb4-132e_coco.py'

model = dict(
    backbone=dict(arch='B0'),
    neck=dict(in_channels=[256, 512, 1024], num_blocks=1, expansion=0.5),
    decoder=dict(num_layers=3),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.5))))
