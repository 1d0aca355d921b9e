_base_ = './faster-rcnn_r50_fpn_crop640-50e_coco.py'

norm_cfg = dict(type='BN', requires_grad=True)
link = dict(norm_cfg=norm_cfg, inplace=False, order=('act', 'conv', 'norm'))
model = dict(
    neck=dict(
        _delete_=True,
        type='FPG',
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        inter_channels=256,
        num_outs=5,
        stack_times=9,
        paths=['bu'] * 9,
        same_down_trans=None,
        same_up_trans=dict(type='conv', kernel_size=3, stride=2, padding=1, **link),
        across_lateral_trans=dict(type='conv', kernel_size=1, **link),
        across_down_trans=dict(type='interpolation_conv', mode='nearest', kernel_size=3, **link),
        across_up_trans=None,
        across_skip_trans=dict(type='conv', kernel_size=1, **link),
        output_trans=dict(type='last_conv', kernel_size=3, inplace=False, order=('act', 'conv', 'norm')),
        norm_cfg=norm_cfg,
        skip_inds=[(0, 1, 2, 3), (0, 1, 2), (0, 1), (0,), ()],
    )
)
