_base_ = './mask-rcnn_r101-gcb-r16-c3-c5_fpn_1x_coco.py'

model = dict(backbone=dict(norm_cfg=dict(type='SyncBN'), norm_eval=False))
