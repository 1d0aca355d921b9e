_base_ = [
    '../_base_/models/deeplabv3plus_r50.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/schedule_poly_90k.py',
]

norm_cfg = dict(type='SyncBN', requires_grad=True)
decoder = dict(
    in_indices=(0, 1, -1),
    project_channels=(32, 64),
    aspp_channels=256,
    dilations=(6, 12, 18),
    dropout=0.1,
    norm_cfg=norm_cfg,
    separable=True,
)
model = dict(
    type='PanopticDeepLab',
    data_preprocessor=dict(pad_mask=True),
    semantic_head=dict(
        type='PanopticDeepLabSemanticHead',
        num_classes=133,
        in_channels=(256, 512, 2048),
        decoder=dict(_delete_=True, channels=(256, 256), **decoder),
        head_channels=256,
    ),
    center_head=dict(
        type='CenterOffsetHead',
        in_channels=(256, 512, 2048),
        decoder=dict(channels=(128, 128), **decoder),
        head_channels=32,
    ),
    panoptic_fusion_head=dict(type='CenterFusionHead', num_things_classes=80, num_stuff_classes=53),
    test_cfg=dict(center_thr=0.1, center_kernel=7, max_per_img=200, stuff_area_limit=4096),
)

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='LoadPanopticAnnotations', backend_args={{_base_.backend_args}}),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=(1333, 640), ratio_range=(0.5, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(640, 640), allow_negative_crop=True),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='Resize', scale=(1333, 640), keep_ratio=True),
    dict(type='LoadPanopticAnnotations', backend_args={{_base_.backend_args}}),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=8,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_iters=200000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='PolyLR', power=0.9, eta_min=0, by_epoch=False, begin=0, end=200000),
]
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=0.0005),
    paramwise_cfg=dict(norm_decay_mult=0.0),
)
auto_scale_lr = dict(base_batch_size=64)
