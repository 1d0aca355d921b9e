_base_ = '../cascade_rcnn/cascade-mask-rcnn_r101_fpn_1x_coco.py'

model = dict(
    backbone=dict(
        type='Res2Net', init_cfg=dict(checkpoint='open-mmlab://res2net101_v1d_26w_4s'), scales=4, base_width=26
    )
)

train_cfg = dict(max_epochs=20)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=20, by_epoch=True, milestones=[16, 19], gamma=0.1),
]
