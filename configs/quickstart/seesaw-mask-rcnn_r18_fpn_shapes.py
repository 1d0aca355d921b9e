_base_ = './mask-rcnn_r18_fpn_shapes.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            cls_predictor_cfg=dict(type='NormedLinear', tempearture=20),
            loss_cls=dict(type='SeesawLoss', p=0.8, q=2.0, num_classes=5, loss_weight=1.0),
        ),
        mask_head=dict(predictor_cfg=dict(type='NormedConv2d', tempearture=20)),
    )
)
