_base_ = './mask-rcnn_r50_fpn_groie_1x_coco.py'

model = dict(
    backbone=dict(
        norm_cfg=dict(type='SyncBN'),
        norm_eval=False,
        plugins=[
            dict(
                cfg=dict(type='ContextBlock', ratio=1.0 / 4),
                stages=(False, True, True, True),
                position='after_conv3',
            ),
        ],
    )
)
