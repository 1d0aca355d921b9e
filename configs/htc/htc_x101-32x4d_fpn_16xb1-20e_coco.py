_base_ = './htc_x101-64x4d_fpn_16xb1-20e_coco.py'

model = dict(backbone=dict(groups=32, init_cfg=dict(checkpoint='open-mmlab://resnext101_32x4d')))
