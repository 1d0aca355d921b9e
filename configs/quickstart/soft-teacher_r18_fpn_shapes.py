_base_ = './faster-rcnn_r18_fpn_shapes.py'

# 100 pictures are labeled, 900 are not.
detector = _base_.model
model = dict(
    _delete_=True,
    type='SoftTeacher',
    detector=detector,
    data_preprocessor=dict(type='MultiBranchDataPreprocessor', data_preprocessor=detector.data_preprocessor),
    semi_train_cfg=dict(sup_weight=1.0, unsup_weight=2.0),
    semi_test_cfg=dict(predict_on='teacher'),
)

branch_field = ['sup', 'unsup_teacher', 'unsup_student']
color_space = [
    [dict(type='ColorTransform')],
    [dict(type='Sharpness')],
    [dict(type='Color')],
    [dict(type='Contrast')],
    [dict(type='Brightness')],
]
geometric = [[dict(type='Rotate')], [dict(type='ShearX')], [dict(type='ShearY')], [dict(type='TranslateX')]]
flip = dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical'])
pack_view = dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'homography_matrix'))
sup_pipeline = [
    dict(type='LoadShapesImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    flip,
    dict(type='RandAugment', aug_space=color_space, aug_num=1),
    dict(type='MultiBranch', branch_field=branch_field, sup=dict(type='PackDetInputs')),
]
unsup_pipeline = [
    dict(type='LoadShapesImage'),
    dict(type='LoadEmptyAnnotations'),
    dict(
        type='MultiBranch',
        branch_field=branch_field,
        unsup_teacher=[flip, pack_view],
        unsup_student=[
            flip,
            dict(type='RandAugment', aug_space=color_space, aug_num=1),
            dict(type='RandAugment', aug_space=geometric, aug_num=1),
            dict(type='RandomErasing', n_patches=(1, 3), ratio=(0, 0.2)),
            pack_view,
        ],
    ),
]
shapes = dict(type='ShapesDataset', image_size=(128, 128))
train_dataloader = dict(
    _delete_=True,
    batch_size=8,
    num_workers=0,
    sampler=dict(type='MultiSourceSampler', batch_size=8, source_ratio=[1, 3]),
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(**shapes, length=100, split='train', pipeline=sup_pipeline),
            dict(**shapes, length=900, split='unlabeled', pipeline=unsup_pipeline),
        ],
    ),
)

train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=3000, val_interval=500)
val_cfg = dict(type='TeacherStudentValLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=3000, eta_min_ratio=0.01),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=500, save_best='teacher/coco/bbox_mAP'))
log_processor = dict(by_epoch=False)
# A short training has a teacher that follows sooner; batch norms learn their statistics here.
custom_hooks = [dict(type='MeanTeacherHook', momentum=0.01, skip_buffer=False)]
