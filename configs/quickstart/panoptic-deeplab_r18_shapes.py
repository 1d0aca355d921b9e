_base_ = './deeplabv3plus_r18_shapes.py'

decoder = dict(
    in_indices=(0, 1, -1),
    project_channels=(16, 32),
    channels=(64, 64),
    aspp_channels=64,
    dilations=(2, 4, 6),
)
model = dict(
    type='PanopticDeepLab',
    data_preprocessor=dict(pad_mask=True),
    semantic_head=dict(
        type='PanopticDeepLabSemanticHead',
        in_channels=(32, 64, 256),
        decoder=dict(_delete_=True, **decoder),
        head_channels=64,
        small_area=256,
    ),
    center_head=dict(
        type='CenterOffsetHead',
        in_channels=(32, 64, 256),
        decoder=decoder,
        radius=8,
        loss_offset=dict(type='L1Loss', loss_weight=0.05),
    ),
    panoptic_fusion_head=dict(type='CenterFusionHead', num_things_classes=5, num_stuff_classes=2),
    test_cfg=dict(center_thr=0.1, center_kernel=7, max_per_img=100, stuff_area_limit=256),
)

val_evaluator = [
    dict(type='CocoPanopticMetric'),
    dict(type='CocoMetric', metric=['bbox', 'segm']),
    dict(type='SemSegMetric'),
]
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='coco_panoptic/PQ'))
