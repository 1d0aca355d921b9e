_base_ = './cascade-mask-rcnn_hrnetv2p-w18_20e_coco.py'

model = dict(
    backbone=dict(
        extra=dict(
            stage2=dict(num_channels=[40, 80]),
            stage3=dict(num_channels=[40, 80, 160]),
            stage4=dict(num_channels=[40, 80, 160, 320]),
        ),
        init_cfg=dict(checkpoint='open-mmlab://msra/hrnetv2_w40'),
    ),
    neck=dict(in_channels=[40, 80, 160, 320]),
)
