_base_ = [
    '../_base_/models/panoptic-fpn_r50_fpn.py',
    '../_base_/datasets/shapes_panoptic.py',
    './shapes_schedule.py',
]

# A small detector for small pictures: a narrow ResNet-18, trained from random weights.
model = dict(
    backbone=dict(depth=18, base_channels=32, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64, start_level=1, num_outs=3),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[3, 4.5], strides=[8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, featmap_strides=[8, 16], finest_scale=48),
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=5),
        mask_roi_extractor=dict(out_channels=64, featmap_strides=[8, 16], finest_scale=48),
        mask_head=dict(num_convs=2, in_channels=64, conv_out_channels=64, num_classes=5),
    ),
    semantic_head=dict(
        num_things_classes=5,
        num_stuff_classes=2,
        in_channels=64,
        inner_channels=32,
        end_level=3,
        norm_cfg=dict(num_groups=8),
    ),
    panoptic_fusion_head=dict(num_things_classes=5, num_stuff_classes=2),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=500, max_per_img=100),
        panoptic=dict(stuff_area_limit=256),
    ),
)

val_evaluator = [
    dict(type='CocoPanopticMetric'),
    dict(type='CocoMetric', metric=['bbox', 'segm']),
]
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='coco_panoptic/PQ'))
