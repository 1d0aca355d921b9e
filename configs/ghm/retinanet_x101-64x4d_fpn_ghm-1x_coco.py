_base_ = './retinanet_r101_fpn_ghm-1x_coco.py'

model = dict(
    backbone=dict(type='ResNeXt', init_cfg=dict(checkpoint='open-mmlab://resnext101_64x4d'), groups=64, base_width=4)
)
