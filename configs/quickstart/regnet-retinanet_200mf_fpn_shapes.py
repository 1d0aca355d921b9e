_base_ = './retinanet_r18_fpn_shapes.py'

# RegNetX-200MF, with the widths of the paper's table 3 (arXiv 2003.13678)
model = dict(
    backbone=dict(
        _delete_=True,
        type='RegNet',
        arch=dict(w0=24, wa=36.44, wm=2.49, group_w=8, depth=13, bot_mul=1.0),
        norm_eval=False,
    ),
    neck=dict(in_channels=[24, 56, 152, 368]),
)
