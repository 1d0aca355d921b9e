_base_ = './cascade-mask-rcnn_r101_fpn_20e_coco.py'

model = dict(
    backbone=dict(type='ResNeXt', init_cfg=dict(checkpoint='open-mmlab://resnext101_32x4d'), groups=32, base_width=4)
)
