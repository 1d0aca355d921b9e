_base_ = './ld_r18-gflv1-r101_fpn_1x_coco.py'

model = dict(backbone=dict(depth=34, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet34')))
