_base_ = './mask-rcnn_r101_fpn_sample1e-3_ms-1x_lvis-v1.py'

model = dict(
    backbone=dict(
        type='ResNeXt', depth=101, init_cfg=dict(checkpoint='open-mmlab://resnext101_32x4d'), groups=32, base_width=4
    )
)
