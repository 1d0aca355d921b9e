_base_ = './cascade-rcnn_r50_fpn_20e_coco.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
