# Trains on the first 14 photos of the nuts (`NUTS=/path/to/nuts`) and tests on the last 4, by their place in
# trainval.json: see indices in ../_base_/datasets/nuts_instance.py.
_base_ = [
    '../_base_/models/mask-rcnn_r50_fpn.py',
    '../_base_/datasets/nuts_instance.py',
    './nuts_schedule.py',
]

# ResNet-18 from random weights, so its norms learn; nuts are 15 to 90 px wide in photos of 400x300.
model = dict(
    backbone=dict(depth=18, base_channels=32, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=96, start_level=1, num_outs=3),
    rpn_head=dict(
        in_channels=96,
        feat_channels=96,
        anchor_generator=dict(scales=[3, 5], strides=[8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=96, featmap_strides=[8, 16, 32]),
        bbox_head=dict(in_channels=96, fc_out_channels=256, num_classes=3),
        mask_roi_extractor=dict(out_channels=96, featmap_strides=[8, 16, 32]),
        mask_head=dict(num_convs=2, in_channels=96, conv_out_channels=96, num_classes=3),
    ),
    train_cfg=dict(rpn_proposal=dict(nms_pre=1000, max_per_img=300), rcnn=dict(sampler=dict(num=128))),
    test_cfg=dict(rpn=dict(max_per_img=300)),
)
