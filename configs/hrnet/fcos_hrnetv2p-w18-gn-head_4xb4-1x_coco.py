_base_ = '../fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'

model = dict(
    data_preprocessor=dict(mean=[103.53, 116.28, 123.675], std=[57.375, 57.12, 58.395]),
    backbone=dict(
        _delete_=True,
        type='HRNet',
        extra=dict(
            stage1=dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=[4], num_channels=[64]),
            stage2=dict(num_modules=1, num_branches=2, block='BASIC', num_blocks=[4, 4], num_channels=[18, 36]),
            stage3=dict(num_modules=4, num_branches=3, block='BASIC', num_blocks=[4, 4, 4], num_channels=[18, 36, 72]),
            stage4=dict(
                num_modules=3, num_branches=4, block='BASIC', num_blocks=[4, 4, 4, 4], num_channels=[18, 36, 72, 144]
            ),
        ),
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://msra/hrnetv2_w18'),
    ),
    neck=dict(_delete_=True, type='HRFPN', in_channels=[18, 36, 72, 144], out_channels=256, stride=2, num_outs=5),
)
train_dataloader = dict(batch_size=4, num_workers=4)
