_base_ = './retinanet_x101-64x4d_fpn_ghm-1x_coco.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='open-mmlab://resnext101_32x4d'), groups=32))
