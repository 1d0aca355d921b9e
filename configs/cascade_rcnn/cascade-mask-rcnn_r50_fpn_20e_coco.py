_base_ = './cascade-mask-rcnn_r101_fpn_20e_coco.py'

model = dict(backbone=dict(depth=50, init_cfg=dict(checkpoint='torchvision://resnet50')))
