_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_detection_crop640.py',
    '../_base_/schedules/schedule_crop640_50e.py',
    '../_base_/default_runtime.py',
]

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(
        pad_size_divisor=64,
        batch_augments=[dict(type='BatchFixedSizePad', size={{_base_.image_size}})],
    ),
    backbone=dict(norm_eval=False),
    neck=dict(norm_cfg=norm_cfg),
    roi_head=dict(bbox_head=dict(norm_cfg=norm_cfg)),
)

env_cfg = dict(cudnn_benchmark=True)
