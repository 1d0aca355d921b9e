_base_ = [
    '../_base_/models/deeplabv3plus_r50.py',
    '../_base_/datasets/shapes_panoptic.py',
    './shapes_schedule.py',
]

# A small network for small pictures: a narrow ResNet-18 that keeps 1/16 of their size, trained from random weights.
norm_cfg = dict(type='BN')
model = dict(
    backbone=dict(depth=18, base_channels=32, dilations=(1, 1, 1, 2), norm_cfg=norm_cfg, init_cfg=None),
    semantic_head=dict(
        num_classes=7,  # five shapes, sky and ground
        in_channels=(32, 256),
        decoder=dict(project_channels=(16,), channels=(64,), aspp_channels=64, dilations=(2, 4, 6), norm_cfg=norm_cfg),
    ),
)

val_evaluator = dict(_delete_=True, type='SemSegMetric')
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='sem_seg/mIoU'))
