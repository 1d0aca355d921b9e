_base_ = './dfine_l_8xb4-80e_coco.py'

model = dict(
    neck_channels=384,
    backbone=dict(arch='B5'),
    neck=dict(out_channels=384, feedforward_channels=2048),
    bbox_head=dict(reg_scale=8.0),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.01))))
