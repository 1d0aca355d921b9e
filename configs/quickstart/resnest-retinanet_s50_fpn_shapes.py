_base_ = './retinanet_r18_fpn_shapes.py'

model = dict(
    backbone=dict(type='ResNeSt', depth=50, radix=2, base_channels=16, stem_channels=16),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
