_base_ = ['../_base_/datasets/shapes_panoptic.py', './shapes_schedule.py']

# A small network for small pictures: a narrow ResNet-18 that keeps 1/16 of their size, trained from random weights.
model = dict(
    type='SemanticSegmentor',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_seg=True,
        seg_pad_value=255,
    ),
    backbone=dict(
        type='ResNet',
        depth=18,
        base_channels=32,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        norm_eval=False,
    ),
    semantic_head=dict(
        type='DeepLabV3PlusHead',
        num_classes=7,  # five shapes, sky and ground
        in_channels=(32, 256),
        decoder=dict(project_channels=(16,), channels=(64,), aspp_channels=64, dilations=(2, 4, 6)),
        loss_seg=dict(type='HardPixelLoss', kept_share=0.2),
    ),
)

val_evaluator = dict(_delete_=True, type='SemSegMetric')
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='sem_seg/mIoU'))
