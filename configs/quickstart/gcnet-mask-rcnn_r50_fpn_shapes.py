_base_ = './mask-rcnn_r18_fpn_shapes.py'

# context blocks follow the third convolution of a bottleneck, which a ResNet-18 doesn't have
model = dict(
    backbone=dict(
        depth=50,
        base_channels=16,
        plugins=[
            dict(
                cfg=dict(type='ContextBlock', ratio=1.0 / 4), stages=(False, True, True, True), position='after_conv3'
            ),
        ],
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
