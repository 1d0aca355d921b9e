_base_ = './faster-rcnn_r50_fpn_ms-3x_coco.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
