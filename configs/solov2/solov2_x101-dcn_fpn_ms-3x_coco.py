_base_ = './solov2_r101-dcn_fpn_ms-3x_coco.py'

model = dict(
    backbone=dict(
        type='ResNeXt',
        groups=64,
        base_width=4,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        init_cfg=dict(checkpoint='open-mmlab://resnext101_64x4d'),
    )
)
