_base_ = './cascade-mask-rcnn_regnetx-4GF_fpn_ms-3x_coco.py'

model = dict(
    backbone=dict(arch='regnetx_800mf', init_cfg=dict(checkpoint='open-mmlab://regnetx_800mf')),
    neck=dict(in_channels=[64, 128, 288, 672]),
)
