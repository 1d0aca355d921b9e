_base_ = './fcos_r18_fpn_shapes.py'

model = dict(
    type='NASFCOS',
    neck=dict(
        _delete_=True,
        type='NASFCOS_FPN',
        in_channels=[32, 64, 128, 256],
        out_channels=64,
        start_level=1,
        num_outs=3,
        norm_cfg=dict(type='BN'),
        conv_cfg=dict(type='DCNv2', deform_groups=2),
    ),
    bbox_head=dict(type='NASFCOSHead', stacked_convs=4),
)
