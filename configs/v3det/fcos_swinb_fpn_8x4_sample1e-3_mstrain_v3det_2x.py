_base_ = [
    '../_base_/datasets/v3det.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='FCOS',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type='SwinTransformer',
        embed_dims=128,
        depths=[2, 2, 18, 2],
        num_heads=[4, 8, 16, 32],
        window_size=7,
        mlp_ratio=4,
        qkv_bias=True,
        qk_scale=None,
        drop_rate=0.0,
        attn_drop_rate=0.0,
        drop_path_rate=0.3,
        patch_norm=True,
        out_indices=(0, 1, 2, 3),
        with_cp=False,
        convert_weights=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_base_patch4_window7_224.pth',
        ),
    ),
    neck=dict(
        type='FPN',
        in_channels=[128, 256, 512, 1024],
        out_channels=256,
        start_level=1,
        add_extra_convs='on_output',
        num_outs=5,
        relu_before_extra_convs=True,
        force_grad_on_level=True,
    ),
    bbox_head=dict(
        type='FCOSHead',
        num_classes=13204,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        strides=[8, 16, 32, 64, 128],
        cls_predictor_cfg=dict(type='NormedLinear', tempearture=50, bias=True),
        loss_cls=dict(
            type='FocalCustomLoss', use_sigmoid=True, num_classes=13204, gamma=2.0, alpha=0.25, loss_weight=1.0
        ),
        loss_bbox=dict(type='IoULoss', loss_weight=1.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
    ),
    train_cfg=dict(
        # as people's configs say it; FCOS assigns by regress_ranges
        assigner=dict(
            type='MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.4,
            min_pos_iou=0,
            ignore_iof_thr=-1,
            perm_repeat_gt_cfg=dict(iou_thr=0.7, perm_range=0.01),
        ),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
    test_cfg=dict(
        nms_pre=1000, min_bbox_size=0, score_thr=0.0001, nms=dict(type='nms', iou_threshold=0.6), max_per_img=300
    ),
)
train_dataloader = dict(batch_size=2, num_workers=8)

train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=275040, val_interval=275040)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.00048828125, by_epoch=False, begin=0, end=10000),
    dict(type='MultiStepLR', begin=0, end=275040, by_epoch=False, milestones=[183360, 252120], gamma=0.1),
]
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2.5e-05, weight_decay=0.1), clip_grad=dict(max_norm=35, norm_type=2)
)
default_hooks = dict(checkpoint=dict(interval=11460, by_epoch=False))
log_processor = dict(by_epoch=False)
find_unused_parameters = True
auto_scale_lr = dict(base_batch_size=32)
