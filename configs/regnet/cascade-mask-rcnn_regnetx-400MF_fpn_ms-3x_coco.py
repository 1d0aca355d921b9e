_base_ = './cascade-mask-rcnn_regnetx-4GF_fpn_ms-3x_coco.py'

model = dict(
    backbone=dict(arch='regnetx_400mf', init_cfg=dict(checkpoint='open-mmlab://regnetx_400mf')),
    neck=dict(in_channels=[32, 64, 160, 384]),
)
