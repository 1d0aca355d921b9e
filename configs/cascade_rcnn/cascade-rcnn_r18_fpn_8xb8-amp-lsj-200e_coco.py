_base_ = ['../_base_/models/cascade-rcnn_r50_fpn.py', '../common/lsj-200e_coco-detection.py']

model = dict(
    data_preprocessor=dict(batch_augments=[dict(type='BatchFixedSizePad', size=(1024, 1024))]),
    backbone=dict(depth=18, init_cfg=dict(checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]),
    train_cfg=dict(rpn=dict(allowed_border=-1)),
)
train_dataloader = dict(batch_size=8, num_workers=4)
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(lr=0.08))
