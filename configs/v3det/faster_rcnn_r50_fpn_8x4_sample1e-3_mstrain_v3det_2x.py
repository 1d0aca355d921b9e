_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/v3det.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

model = dict(
    roi_head=dict(
        bbox_head=dict(
            num_classes=13204,
            reg_class_agnostic=True,
            loss_cls=dict(type='CrossEntropyCustomLoss', use_sigmoid=True, num_classes=13204),
            cls_predictor_cfg=dict(type='NormedLinear', tempearture=50, bias=True),
        )
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=4000, max_per_img=2000),
        rcnn=dict(assigner=dict(perm_repeat_gt_cfg=dict(iou_thr=0.7, perm_range=0.01))),
    ),
    test_cfg=dict(rcnn=dict(score_thr=0.0001, nms=dict(iou_threshold=0.6), max_per_img=300)),
)
train_dataloader = dict(batch_size=4, num_workers=8)

train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=137520, val_interval=137520)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.00048828125, by_epoch=False, begin=0, end=5000),
    dict(type='MultiStepLR', begin=0, end=137520, by_epoch=False, milestones=[91680, 126060], gamma=0.1),
]
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=0.0001, weight_decay=0.1), clip_grad=dict(max_norm=35, norm_type=2)
)
default_hooks = dict(checkpoint=dict(interval=11460, by_epoch=False))
log_processor = dict(by_epoch=False)
auto_scale_lr = dict(base_batch_size=32)
