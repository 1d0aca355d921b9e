_base_ = [
    '../_base_/models/yolov3_d53.py',
    '../_base_/datasets/shapes_detection.py',
    './shapes_schedule.py',
]

# A small detector for small pictures: a narrow ResNet-18 in place of Darknet-53, trained from random weights.
model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        base_channels=32,
        out_indices=(1, 2, 3),
        norm_eval=False,
    ),
    neck=dict(in_channels=[256, 128, 64], out_channels=[128, 64, 32]),
    bbox_head=dict(
        num_classes=5,
        in_channels=[128, 64, 32],
        out_channels=[128, 64, 64],
        anchor_generator=dict(
            base_sizes=[
                [(56, 56), (62, 52), (52, 62)],
                [(40, 40), (46, 46), (36, 44)],
                [(24, 24), (30, 30), (34, 30)],
            ],
        ),
    ),
)
