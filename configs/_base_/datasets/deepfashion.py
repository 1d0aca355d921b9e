# DeepFashion, the in-shop part with masks
_base_ = './coco_instance.py'

data_root = 'data/DeepFashion/In-shop/'
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(750, 1101), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='Resize', scale=(750, 1101), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=2,
        dataset=dict(
            type='DeepFashionDataset',
            data_root=data_root,
            ann_file='Anno/segmentation/DeepFashion_segmentation_train.json',
            data_prefix=dict(img='Img/'),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            pipeline=train_pipeline,
            backend_args={{_base_.backend_args}},
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='DeepFashionDataset',
        data_root=data_root,
        ann_file='Anno/segmentation/DeepFashion_segmentation_query.json',
        data_prefix=dict(img='Img/'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    dataset=dict(
        type='DeepFashionDataset',
        data_root=data_root,
        ann_file='Anno/segmentation/DeepFashion_segmentation_gallery.json',
        data_prefix=dict(img='Img/'),
        pipeline=test_pipeline,
    ),
)
val_evaluator = dict(ann_file=data_root + 'Anno/segmentation/DeepFashion_segmentation_query.json')
test_evaluator = dict(ann_file=data_root + 'Anno/segmentation/DeepFashion_segmentation_gallery.json')
