_base_ = './faster-rcnn_r18_fpn_shapes.py'

link = dict(norm_cfg=dict(type='BN', requires_grad=True), inplace=False, order=('act', 'conv', 'norm'))
model = dict(
    neck=dict(
        _delete_=True,
        type='FPG',
        in_channels=[32, 64, 128, 256],
        out_channels=64,
        num_outs=3,
        start_level=1,
        stack_times=3,
        paths=['bu'] * 3,
        same_up_trans=dict(type='conv', kernel_size=3, stride=2, padding=1, **link),
        across_lateral_trans=dict(type='conv', kernel_size=1, **link),
        across_down_trans=dict(type='interpolation_conv', mode='nearest', kernel_size=3, **link),
        across_skip_trans=dict(type='conv', kernel_size=1, **link),
        output_trans=dict(type='last_conv', kernel_size=3, inplace=False, order=('act', 'conv', 'norm')),
        skip_inds=[(0, 1), (0,), ()],
    )
)
