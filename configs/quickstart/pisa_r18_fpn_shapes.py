_base_ = './faster-rcnn_r18_fpn_shapes.py'

model = dict(
    roi_head=dict(
        type='PISARoIHead',
        bbox_head=dict(loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=1.0, loss_weight=1.0)),
    ),
    train_cfg=dict(
        rcnn=dict(
            sampler=dict(type='ScoreHLRSampler', k=0.5, bias=0.0),
            isr=dict(k=2, bias=0),
            carl=dict(k=1, bias=0.2),
        )
    ),
)
