_base_ = './faster-rcnn_r18_fpn_shapes.py'

# The keypoints of shapes are their corners.
model = dict(
    type='KeypointRCNN',
    roi_head=dict(
        type='KeypointRoIHead',
        keypoint_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0),
            out_channels=64,
            featmap_strides=[8, 16],
            finest_scale=48,
        ),
        keypoint_head=dict(
            type='DeconvKeypointHead',
            num_keypoints=6,
            num_convs=2,
            in_channels=64,
            conv_out_channels=64,
        ),
    ),
)

train_pipeline = [
    dict(type='LoadShapesImage'),
    dict(type='LoadAnnotations', with_bbox=True, with_keypoints=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_evaluator = dict(metric=['bbox', 'keypoints'])
test_evaluator = val_evaluator
