_base_ = './mask-rcnn_r50-gcb-r4-c3-c5_fpn_1x_coco.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
