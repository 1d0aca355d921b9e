_base_ = './retinanet_r50_fpg-chn128_crop640_50e_coco.py'

model = dict(neck=dict(out_channels=256, inter_channels=256), bbox_head=dict(in_channels=256))
