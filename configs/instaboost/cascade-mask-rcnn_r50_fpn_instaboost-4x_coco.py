_base_ = './cascade-mask-rcnn_r101_fpn_instaboost-4x_coco.py'

model = dict(backbone=dict(depth=50, init_cfg=dict(checkpoint='torchvision://resnet50')))
