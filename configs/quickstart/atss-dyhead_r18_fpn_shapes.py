_base_ = './atss_r18_fpn_shapes.py'

model = dict(
    neck=[
        dict(type='FPN', in_channels=[32, 64, 128, 256], out_channels=64, start_level=1, num_outs=3),
        dict(type='DyHead', in_channels=64, out_channels=64, num_blocks=2),
    ],
    # the blocks stand in place of the towers
    bbox_head=dict(stacked_convs=0),
)
