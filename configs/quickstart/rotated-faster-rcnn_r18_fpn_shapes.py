_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/shapes_rotated_detection.py',
    './shapes_schedule.py',
]

# A small detector for small pictures: a narrow ResNet-18, trained from random weights. Proposals are the boxes around
# rotated objects, from which the region head makes rotated ones.
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
        bbox_head=dict(
            in_channels=64,
            fc_out_channels=256,
            num_classes=5,
            predict_box_type='rbox',
            bbox_coder=dict(
                _delete_=True,
                type='DeltaXYWHTHBBoxCoder',
                angle_version='le90',
                norm_factor=2,
                edge_swap=True,
                target_stds=[0.1, 0.1, 0.2, 0.2, 0.1],
            ),
        ),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=500, max_per_img=100),
        rcnn=dict(nms=dict(_delete_=True, type='nms_rotated', iou_threshold=0.1)),
    ),
)
default_hooks = dict(checkpoint=dict(save_best='dota/mAP'))
