_base_ = './mask-rcnn_r50-gcb-r4-c3-c5_fpn_1x_coco.py'

model = dict(backbone=dict(norm_cfg=dict(type='SyncBN'), norm_eval=False))
