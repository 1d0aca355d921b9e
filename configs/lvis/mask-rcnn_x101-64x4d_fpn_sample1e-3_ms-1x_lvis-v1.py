_base_ = './mask-rcnn_r101_fpn_sample1e-3_ms-1x_lvis-v1.py'

model = dict(
    backbone=dict(type='ResNeXt', init_cfg=dict(checkpoint='open-mmlab://resnext101_64x4d'), groups=64, base_width=4)
)
