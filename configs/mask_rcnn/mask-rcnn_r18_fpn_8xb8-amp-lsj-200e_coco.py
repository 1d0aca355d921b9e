_base_ = ['../_base_/models/mask-rcnn_r50_fpn.py', '../common/lsj-200e_coco-instance.py']

model = dict(
    data_preprocessor=dict(batch_augments=[dict(type='BatchFixedSizePad', size=(1024, 1024), pad_mask=True)]),
    backbone=dict(depth=18, init_cfg=dict(checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
train_dataloader = dict(batch_size=8, num_workers=4, dataset=dict(times=4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.067, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=25, by_epoch=True, milestones=[22, 24], gamma=0.1),
]
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(lr=0.08))
