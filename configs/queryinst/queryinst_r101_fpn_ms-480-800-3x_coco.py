_base_ = './queryinst_r50_fpn_ms-480-800-3x_coco.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
