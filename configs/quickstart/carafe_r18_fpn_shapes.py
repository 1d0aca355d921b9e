_base_ = './faster-rcnn_r18_fpn_shapes.py'

model = dict(
    neck=dict(
        type='FPN_CARAFE',
        upsample_cfg=dict(type='carafe', up_kernel=5, encoder_kernel=3, compressed_channels=32),
    )
)
