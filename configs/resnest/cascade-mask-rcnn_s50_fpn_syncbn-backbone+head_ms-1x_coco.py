_base_ = './cascade-mask-rcnn_s101_fpn_syncbn-backbone+head_ms-1x_coco.py'

model = dict(backbone=dict(stem_channels=64, depth=50, init_cfg=dict(checkpoint='open-mmlab://resnest50')))
