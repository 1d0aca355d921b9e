# Cityscapes, its annotations converted to the format of COCO
_base_ = './cityscapes_detection.py'

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomResize', scale=[(2048, 800), (2048, 1024)], keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(
        type='CocoMetric',
        ann_file={{_base_.val_evaluator.ann_file}},
        metric=['bbox', 'segm'],
        backend_args={{_base_.backend_args}},
    ),
    # the benchmark's own rules, and the files that its server takes
    dict(
        type='CityScapesMetric',
        seg_prefix=_base_.data_root + 'gtFine/val',
        outfile_prefix='work_dirs/cityscapes_metric/instance',
        backend_args={{_base_.backend_args}},
    ),
]
test_evaluator = val_evaluator
