_base_ = ['../_base_/datasets/shapes_detection.py', './shapes_schedule.py']

# The smallest of the family at half its width, for small pictures.
max_epochs, num_last_epochs = 12, 3
image_size = (128, 128)  # width, height
model = dict(
    type='YOLOX',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        pad_size_divisor=32,
        batch_augments=[dict(type='BatchSyncRandomResize', random_size_range=(96, 160), size_divisor=32, interval=10)],
    ),
    backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.25, out_indices=(2, 3, 4)),
    neck=dict(type='YOLOXPAFPN', in_channels=[64, 128, 256], out_channels=64, num_csp_blocks=1),
    bbox_head=dict(type='YOLOXHead', num_classes=5, in_channels=64, feat_channels=64),
    train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
    test_cfg=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.65)),
)

mosaic_pipeline = [
    dict(type='Mosaic', img_scale=image_size, pad_val=114.0),
    dict(
        type='RandomAffine',
        scaling_ratio_range=(0.5, 1.5),
        border=(-image_size[0] // 2, -image_size[1] // 2),  # cuts the mosaic to image_size
    ),
    dict(type='MixUp', img_scale=image_size, ratio_range=(0.8, 1.6), pad_val=114.0),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MultiImageMixDataset',
        dataset=dict(
            type='ShapesDataset',
            length=1000,
            split='train',
            image_size=(128, 128),
            pipeline=[dict(type='LoadShapesImage'), dict(type='LoadAnnotations', with_bbox=True)],
        ),
        pipeline=mosaic_pipeline,
    )
)

# the last epochs are without mosaics and with an L1 loss, and the running mean of the weights is what is tested
custom_hooks = [
    dict(type='YOLOXModeSwitchHook', num_last_epochs=num_last_epochs, priority=48),
    dict(type='SyncNormHook', priority=48),
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.002, update_buffers=True, priority=49),
]
