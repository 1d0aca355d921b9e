_base_ = './grid-rcnn_r50_fpn_gn-head_1x_coco.py'

train_cfg = dict(max_epochs=25)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 80, by_epoch=False, begin=0, end=3665),
    dict(type='MultiStepLR', begin=0, end=25, by_epoch=True, milestones=[17, 23], gamma=0.1),
]
