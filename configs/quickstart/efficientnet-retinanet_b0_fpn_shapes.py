_base_ = './retinanet_r18_fpn_shapes.py'

model = dict(
    backbone=dict(_delete_=True, type='EfficientNet', arch='b0', out_indices=(3, 4, 5)),
    neck=dict(in_channels=[40, 112, 320], start_level=0),
)
