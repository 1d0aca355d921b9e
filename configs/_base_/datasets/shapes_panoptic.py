# The embedded dataset with sky and ground as background.
_base_ = './shapes_detection.py'

train_pipeline = [
    dict(type='LoadShapesImage'),
    dict(type='LoadPanopticAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadShapesImage'),
    dict(type='LoadPanopticAnnotations'),
    dict(
        type='PackDetInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'instances',
            'segments_info',
            'panoptic_map',
        ),
    ),
]
train_dataloader = dict(dataset=dict(with_stuff=True, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(with_stuff=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='CocoPanopticMetric')
test_evaluator = val_evaluator
