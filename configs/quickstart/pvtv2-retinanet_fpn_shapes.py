_base_ = './retinanet_r18_fpn_shapes.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='PyramidVisionTransformerV2',
        embed_dims=16,
        num_layers=[1, 1, 1, 1],
    ),
    neck=dict(in_channels=[16, 32, 80, 128]),
)
