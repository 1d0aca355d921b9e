_base_ = './retinanet_regnetx-3.2GF_fpn_1x_coco.py'

model = dict(
    backbone=dict(arch='regnetx_800mf', init_cfg=dict(checkpoint='open-mmlab://regnetx_800mf')),
    neck=dict(in_channels=[64, 128, 288, 672]),
)
