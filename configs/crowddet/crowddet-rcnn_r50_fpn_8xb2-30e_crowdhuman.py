_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/crowdhuman_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='CrowdDet',
    data_preprocessor=dict(
        mean=[103.53, 116.28, 123.675],
        std=[57.375, 57.12, 58.395],
        bgr_to_rgb=False,
        pad_size_divisor=64,
        # batches of any size in place of Resize, which would keep small people small
        batch_augments=[dict(type='BatchResize', scale=(1400, 800), pad_size_divisor=64)],
    ),
    neck=dict(upsample_cfg=dict(mode='bilinear', align_corners=False)),
    rpn_head=dict(
        anchor_generator=dict(ratios=[1.0, 2.0, 3.0], centers=[(8, 8), (8, 8), (8, 8), (8, 8), (8, 8)]),
        bbox_coder=dict(clip_border=False),
        loss_cls=dict(_delete_=True, type='CrossEntropyLoss', loss_weight=1.0),
    ),
    roi_head=dict(
        type='MultiInstanceRoIHead',
        bbox_roi_extractor=dict(roi_layer=dict(sampling_ratio=-1, aligned=True, use_torchvision=True)),
        bbox_head=dict(
            _delete_=True,
            type='MultiInstanceBBoxHead',
            with_refine=False,
            num_shared_fcs=2,
            in_channels=256,
            fc_out_channels=1024,
            roi_feat_size=7,
            num_classes=1,
            bbox_coder=dict(
                type='DeltaXYWHBBoxCoder', target_means=[0.0, 0.0, 0.0, 0.0], target_stds=[0.1, 0.1, 0.2, 0.2]
            ),
            reg_class_agnostic=False,
            loss_cls=dict(type='CrossEntropyLoss', loss_weight=1.0, use_sigmoid=False, reduction='none'),
            loss_bbox=dict(type='SmoothL1Loss', loss_weight=1.0, reduction='none'),
        ),
    ),
    train_cfg=dict(
        rpn=dict(assigner=dict(neg_iou_thr=(0.3, 0.7))),
        rpn_proposal=dict(nms_pre=2400, max_per_img=2000, min_bbox_size=2),
        rcnn=dict(
            assigner=dict(
                type='MultiInstanceAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.3, match_low_quality=False
            ),
            sampler=dict(type='MultiInsRandomSampler', num=512, pos_fraction=0.5, add_gt_as_proposals=False),
        ),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=1200, max_per_img=1000, min_bbox_size=2),
        rcnn=dict(score_thr=0.01, max_per_img=500),
    ),
)

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'flip', 'flip_direction'),
    ),
]
# pictures keep their sizes, and batches their order
train_dataloader = dict(num_workers=4, batch_sampler=None, dataset=dict(pipeline=train_pipeline))

train_cfg = dict(max_epochs=30)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=800),
    dict(type='MultiStepLR', begin=0, end=30, by_epoch=True, milestones=[24, 27], gamma=0.1),
]
optim_wrapper = dict(optimizer=dict(lr=0.002))
