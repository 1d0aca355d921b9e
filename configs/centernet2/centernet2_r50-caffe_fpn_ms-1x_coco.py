_base_ = '../cascade_rcnn/cascade-rcnn_r50-caffe_fpn_1x_coco.py'

# each stage regresses more finely, from proposals that overlap objects better
TARGET_STDS = ([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067])
MIN_IOUS = (0.6, 0.7, 0.8)

model = dict(
    neck=dict(start_level=1, add_extra_convs='on_output', relu_before_extra_convs=True),
    rpn_head=dict(
        _delete_=True,
        type='CenterNetRPNHead',
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        strides=[8, 16, 32, 64, 128],
        hm_min_radius=4,
        hm_min_overlap=0.8,
        loss_cls=dict(
            type='GaussianFocalLoss', pos_weight=0.125, neg_weight=0.375, loss_weight=1.0, ignore_high_fp=0.85
        ),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
    ),
    roi_head=dict(
        stage_loss_weights=[1, 1, 1],
        # as of the levels P2 to P7: regions that P2 would pool from, of less than 112 pixels, are left to P3
        bbox_roi_extractor=dict(featmap_strides=[8, 16, 32, 64, 128], finest_scale=112),
        bbox_head=[
            dict(
                type='Shared2FCBBoxHead',
                in_channels=256,
                fc_out_channels=1024,
                roi_feat_size=7,
                num_classes=80,
                bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0, 0.0, 0.0, 0.0], target_stds=stds),
                reg_class_agnostic=True,
                loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
                loss_bbox=dict(type='L1Loss', loss_weight=1.0),
            )
            for stds in TARGET_STDS
        ],
    ),
    train_cfg=dict(
        rpn=dict(_delete_=True),
        rpn_proposal=dict(
            nms_pre=4000, score_thr=0.01, nms=dict(type='nms', iou_threshold=0.9), max_per_img=2000, min_bbox_size=0
        ),
        rcnn=[
            dict(
                assigner=dict(
                    type='MaxIoUAssigner',
                    pos_iou_thr=iou,
                    neg_iou_thr=iou,
                    min_pos_iou=iou,
                    match_low_quality=False,
                    ignore_iof_thr=-1,
                ),
                sampler=dict(type='RandomSampler', num=512, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
                pos_weight=-1,
                debug=False,
            )
            for iou in MIN_IOUS
        ],
    ),
    test_cfg=dict(
        rpn=dict(
            nms_pre=1000, score_thr=0.01, nms=dict(type='nms', iou_threshold=0.9), max_per_img=256, min_bbox_size=0
        ),
        rcnn=dict(nms=dict(type='nms', iou_threshold=0.7), mult_proposal_score=True),
    ),
)

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='RandomChoiceResize',
        scales=[(1333, 640), (1333, 672), (1333, 704), (1333, 736), (1333, 768), (1333, 800)],
        keep_ratio=True,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

param_scheduler = [
    dict(type='LinearLR', start_factor=0.00025, by_epoch=False, begin=0, end=4000),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=0.0), clip_grad=dict(type='value', clip_value=1.0))
