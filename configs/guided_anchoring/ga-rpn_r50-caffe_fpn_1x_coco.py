_base_ = './ga-rpn_r101-caffe_fpn_1x_coco.py'

model = dict(backbone=dict(depth=50, init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet50_caffe')))
