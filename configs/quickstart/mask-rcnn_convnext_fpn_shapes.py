_base_ = './mask-rcnn_r18_fpn_shapes.py'

# A ConvNeXt as narrow and shallow as the ResNet, trained from random weights.
model = dict(
    backbone=dict(
        _delete_=True,
        type='ConvNeXt',
        arch=dict(depths=[1, 1, 3, 1], channels=[32, 64, 128, 256]),
        out_indices=(1, 2, 3),
        layer_scale_init_value=1.0,
        gap_before_final_norm=False,
    ),
    # the neck of the ResNet leaves out the finest map, too
    neck=dict(in_channels=[64, 128, 256], start_level=0),
)
