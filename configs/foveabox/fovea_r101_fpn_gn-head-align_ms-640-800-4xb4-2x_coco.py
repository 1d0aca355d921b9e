_base_ = './fovea_r50_fpn_gn-head-align_ms-640-800-4xb4-2x_coco.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')))
