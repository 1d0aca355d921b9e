_base_ = './coco_detection.py'

# Persons alone; flip_indices say which keypoint takes whose place when an image is mirrored: left and right ones swap.
metainfo = dict(
    classes=('person',),
    palette=[(220, 20, 60)],
    keypoint_names=(
        'nose',
        'left_eye',
        'right_eye',
        'left_ear',
        'right_ear',
        'left_shoulder',
        'right_shoulder',
        'left_elbow',
        'right_elbow',
        'left_wrist',
        'right_wrist',
        'left_hip',
        'right_hip',
        'left_knee',
        'right_knee',
        'left_ankle',
        'right_ankle',
    ),
    flip_indices=(0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15),
)
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    # COCO counts pixels, from (0, 0) for the center of the first; mirroring and heatmaps take it for (0.5, 0.5)
    dict(type='LoadAnnotations', with_bbox=True, with_keypoints=True, keypoint_offset=0.5),
    dict(
        type='RandomChoiceResize',
        scales=[(1333, 640), (1333, 672), (1333, 704), (1333, 736), (1333, 768), (1333, 800)],
        keep_ratio=True,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    dataset=dict(
        metainfo=metainfo,
        ann_file='annotations/person_keypoints_train2017.json',
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(dataset=dict(metainfo=metainfo, ann_file='annotations/person_keypoints_val2017.json'))
test_dataloader = val_dataloader

val_evaluator = dict(
    ann_file=_base_.data_root + 'annotations/person_keypoints_val2017.json',
    metric=['bbox', 'keypoints'],
    keypoint_offset=0.5,
)
test_evaluator = val_evaluator
