# Dates, figs and hazelnuts: 18 photos of 800x600 with COCO polygons, all in trainval.json. The dataset has no split: the
# first 14 of its images, as the file lists them, are for training and the last 4 (7, 8 and 9.jpg among them) for testing.
# Where they are: `NUTS=/path/to/nuts python tools/train.py ...`, or data/nuts by default.
data_root = '{{$NUTS:data/nuts}}/'
metainfo = dict(classes=('date', 'fig', 'hazelnut'))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomResize', scale=(400, 300), ratio_range=(0.7, 1.3), keep_ratio=True),
    dict(type='RandomFlip', prob=0.75, direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PhotoMetricDistortion', hue_delta=6, contrast_range=(0.75, 1.25), saturation_range=(0.75, 1.25)),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(400, 300), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances'),
    ),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='RepeatDataset',
        times=10,
        dataset=dict(
            type='CocoDataset',
            data_root=data_root,
            ann_file='trainval.json',
            data_prefix=dict(img='images/'),
            metainfo=metainfo,
            indices=list(range(14)),
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file='trainval.json',
        data_prefix=dict(img='images/'),
        metainfo=metainfo,
        indices=list(range(14, 18)),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', metric=['bbox', 'segm'], classwise=True)
test_evaluator = val_evaluator
