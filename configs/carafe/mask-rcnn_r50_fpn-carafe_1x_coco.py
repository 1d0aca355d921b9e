_base_ = '../mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'

carafe = dict(type='carafe', up_kernel=5, up_group=1, encoder_kernel=3, encoder_dilation=1, compressed_channels=64)
model = dict(
    data_preprocessor=dict(pad_size_divisor=64),
    neck=dict(type='FPN_CARAFE', upsample_cfg=carafe),
    roi_head=dict(mask_head=dict(upsample_cfg=dict(scale_factor=2, **carafe))),
)
