_base_ = [
    '../_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/bccd_detection.py',
    './bccd_schedule.py',
]

# ResNet-18 from random weights, so its norms learn; one pyramid level less, since no cell is tiny.
model = dict(
    backbone=dict(depth=18, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=128, start_level=1, num_outs=3),
    rpn_head=dict(
        in_channels=128,
        feat_channels=128,
        anchor_generator=dict(scales=[3, 5], strides=[8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=128, featmap_strides=[8, 16, 32]),
        bbox_head=dict(in_channels=128, fc_out_channels=512, num_classes=3),
    ),
    train_cfg=dict(rpn_proposal=dict(nms_pre=1000, max_per_img=500), rcnn=dict(sampler=dict(num=128))),
    # cells overlap: soft-NMS keeps neighbours that NMS would take for duplicates
    test_cfg=dict(
        rpn=dict(max_per_img=300),
        rcnn=dict(score_thr=0.01, nms=dict(type='soft_nms', iou_threshold=0.5)),
    ),
)
