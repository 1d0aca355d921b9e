_base_ = './mask-rcnn_r101_fpn_seesaw-loss_random-ms-2x_lvis-v1.py'

model = dict(backbone=dict(depth=50, init_cfg=dict(checkpoint='torchvision://resnet50')))
