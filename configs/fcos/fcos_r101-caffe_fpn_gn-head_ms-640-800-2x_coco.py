_base_ = './fcos_r50-caffe_fpn_gn-head_ms-640-800-2x_coco.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://detectron/resnet101_caffe')))
