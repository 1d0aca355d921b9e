# Multi-scale training with random crops, as DETR and its descendants are trained.
_base_ = './coco_detection.py'

SHORT_SIDES = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
resize = dict(type='RandomChoiceResize', scales=[(side, 1333) for side in SHORT_SIDES], keep_ratio=True)

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomChoice',
        transforms=[
            [resize],
            [
                dict(type='RandomChoiceResize', scales=[(400, 4200), (500, 4200), (600, 4200)], keep_ratio=True),
                dict(
                    type='RandomCrop',
                    crop_type='absolute_range',
                    crop_size=(384, 600),
                    allow_negative_crop=True,
                ),
                resize,
            ],
        ],
    ),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
