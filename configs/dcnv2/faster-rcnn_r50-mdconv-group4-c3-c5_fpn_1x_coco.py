_base_ = './faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py'

model = dict(backbone=dict(dcn=dict(deform_groups=4)))
