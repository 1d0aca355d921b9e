_base_ = [
    '../_base_/models/mask-rcnn_r50_fpn.py',
    '../_base_/datasets/lvis_v1_instance.py',
    '../_base_/schedules/schedule_2x.py',
    '../_base_/default_runtime.py',
]

model = dict(
    roi_head=dict(
        bbox_head=dict(
            num_classes=1203,
            loss_cls=dict(type='SeesawLoss', p=0.8, q=2.0, num_classes=1203),
            cls_predictor_cfg=dict(type='NormedLinear', tempearture=20),
        ),
        mask_head=dict(num_classes=1203, predictor_cfg=dict(type='NormedConv2d', tempearture=20)),
    ),
    test_cfg=dict(rcnn=dict(score_thr=0.0001, max_per_img=300)),
)

train_cfg = dict(val_interval=24)
