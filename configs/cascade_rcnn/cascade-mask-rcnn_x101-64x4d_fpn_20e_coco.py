_base_ = './cascade-mask-rcnn_r101_fpn_20e_coco.py'

model = dict(
    backbone=dict(type='ResNeXt', init_cfg=dict(checkpoint='open-mmlab://resnext101_64x4d'), groups=64, base_width=4)
)
