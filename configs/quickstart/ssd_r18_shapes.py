_base_ = [
    '../_base_/models/ssd300.py',
    '../_base_/datasets/shapes_detection.py',
    './shapes_schedule.py',
]

# A small detector for small pictures: a narrow ResNet-18 in place of VGG-16, trained from random weights.
model = dict(
    data_preprocessor=dict(std=[58.395, 57.12, 57.375], pad_size_divisor=32),
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        base_channels=32,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(1, 2),
        norm_eval=False,
    ),
    neck=dict(in_channels=(64, 128), out_channels=(64, 128, 128), level_strides=(2,), level_paddings=(1,)),
    bbox_head=dict(
        in_channels=(64, 128, 128),
        num_classes=5,
        anchor_generator=dict(
            input_size=128,
            basesize_ratio_range=None,
            min_sizes=[18, 30, 46],
            max_sizes=[30, 46, 70],
            strides=[8, 16, 32],
            ratios=[[2], [2], [2]],
        ),
    ),
)
