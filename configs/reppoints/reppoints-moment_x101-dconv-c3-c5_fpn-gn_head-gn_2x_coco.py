_base_ = './reppoints-moment_r101-dconv-c3-c5_fpn-gn_head-gn_2x_coco.py'

model = dict(
    backbone=dict(type='ResNeXt', groups=32, base_width=4, init_cfg=dict(checkpoint='open-mmlab://resnext101_32x4d'))
)
