_base_ = './lad_r50-paa-r101_fpn_2xb8_coco_1x.py'

teacher_ckpt = (
    'https://download.openmmlab.com/mmdetection/v2.0/paa/paa_r50_fpn_1x_coco/paa_r50_fpn_1x_coco_20200821-936edec3.pth'
)
model = dict(
    backbone=dict(depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')),
    teacher_ckpt=teacher_ckpt,
    teacher_backbone=dict(depth=50),
)
