_base_ = ['../_base_/models/solo_r50_fpn.py', '../common/lsj-200e_coco-instance.py']

model = dict(
    data_preprocessor=dict(
        _delete_=True,
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        batch_augments=[dict(type='BatchFixedSizePad', size=(1024, 1024))],
    ),
    backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')),
)
train_dataloader = dict(batch_size=8, num_workers=4)
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(lr=0.04), clip_grad=dict(max_norm=35, norm_type=2))
