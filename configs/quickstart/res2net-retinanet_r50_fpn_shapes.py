_base_ = './retinanet_r18_fpn_shapes.py'

model = dict(
    backbone=dict(type='Res2Net', depth=50, scales=4, base_width=8, base_channels=16),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
