_base_ = './cascade-rcnn_r18_fpn_shapes.py'

# Its blocks are bottlenecks, the smallest ResNet of which is ResNet-50: here with an eighth of its channels.
switchable = dict(
    type='DetectoRS_ResNet',
    depth=50,
    base_channels=8,
    norm_eval=False,
    conv_cfg=dict(type='ConvAWS'),
    sac=dict(type='SAC', use_deform=True),
    stage_with_sac=(False, True, True, True),
)
model = dict(
    backbone=dict(output_img=True, **switchable),
    neck=dict(
        type='RFP',
        rfp_steps=2,
        aspp_out_channels=16,
        aspp_dilations=(1, 3, 6, 1),
        rfp_backbone=dict(rfp_inplanes=64, **switchable),
    ),
)
