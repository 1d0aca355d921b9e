_base_ = './mask-rcnn_r50_fpn_syncbn-r4-gcb-c3-c5-groie_1x_coco.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
