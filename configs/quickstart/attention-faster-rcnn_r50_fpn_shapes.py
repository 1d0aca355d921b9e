_base_ = './faster-rcnn_r18_fpn_shapes.py'

# attention follows the second convolution of a bottleneck, which a ResNet-18 doesn't have
model = dict(
    backbone=dict(
        depth=50,
        base_channels=16,
        plugins=[
            dict(
                cfg=dict(
                    type='GeneralizedAttention', spatial_range=-1, num_heads=4, attention_type='1111', kv_stride=2
                ),
                stages=(False, False, True, True),
                position='after_conv2',
            ),
        ],
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
