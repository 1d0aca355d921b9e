_base_ = [
    '../_base_/models/dfine_hgnetv2.py',
    '../_base_/datasets/coco_detection_640.py',
    '../_base_/default_runtime.py',
]

# every batch has one size, drawn anew for the next
model = dict(
    data_preprocessor=dict(
        batch_augments=[dict(type='BatchSyncRandomResize', random_size_range=(480, 800), size_divisor=32, interval=1)]
    )
)

# the last epochs see images as they are
plain_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Resize', scale=(640, 640), keep_ratio=False),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(batch_size=4)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.00025, weight_decay=0.000125),
    clip_grad=dict(max_norm=0.1, norm_type=2),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.05)}, norm_decay_mult=0),
)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=80, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# the learning rate stays as it is once it has warmed up
param_scheduler = [dict(type='LinearLR', start_factor=0.002, by_epoch=False, begin=0, end=500)]
custom_hooks = [
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0001, update_buffers=True, priority=49),
    dict(type='PipelineSwitchHook', switch_epoch=72, switch_pipeline=plain_pipeline),
]

# the batch size that the learning rate is meant for: 8 GPUs with 4 images each
auto_scale_lr = dict(base_batch_size=32)
