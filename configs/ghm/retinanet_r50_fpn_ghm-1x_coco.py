_base_ = './retinanet_r101_fpn_ghm-1x_coco.py'

model = dict(backbone=dict(depth=50, init_cfg=dict(checkpoint='torchvision://resnet50')))
