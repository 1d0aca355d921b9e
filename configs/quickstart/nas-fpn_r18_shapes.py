_base_ = './retinanet_r18_fpn_shapes.py'

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    # the deepest map halves the image 7 times
    data_preprocessor=dict(pad_size_divisor=128),
    neck=dict(
        _delete_=True,
        type='NASFPN',
        in_channels=[32, 64, 128, 256],
        out_channels=64,
        num_outs=5,
        stack_times=3,
        start_level=1,
        norm_cfg=norm_cfg,
    ),
    bbox_head=dict(
        type='RetinaSepBNHead',
        num_ins=5,
        norm_cfg=dict(_delete_=True, **norm_cfg),
        anchor_generator=dict(strides=[8, 16, 32, 64, 128]),
    ),
)
