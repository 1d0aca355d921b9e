_base_ = [
    '../_base_/models/retinanet_r50_fpn.py',
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
    neck=dict(relu_before_extra_convs=True, no_norm_on_lateral=True, norm_cfg=norm_cfg),
    bbox_head=dict(type='RetinaSepBNHead', num_ins=5, norm_cfg=norm_cfg),
    train_cfg=dict(assigner=dict(neg_iou_thr=0.5)),
)

env_cfg = dict(cudnn_benchmark=True)
train_cfg = dict(val_interval=1)
