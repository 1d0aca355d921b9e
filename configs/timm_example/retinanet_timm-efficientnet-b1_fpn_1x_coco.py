_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TIMMBackbone',
        model_name='efficientnet_b1',
        features_only=True,
        pretrained=True,
        out_indices=[1, 2, 3, 4],
    ),
    neck=dict(in_channels=[24, 40, 112, 320]),
)
