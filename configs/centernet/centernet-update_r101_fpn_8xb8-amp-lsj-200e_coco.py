_base_ = './centernet-update_r50_fpn_8xb8-amp-lsj-200e_coco.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
