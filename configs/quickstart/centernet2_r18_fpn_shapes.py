_base_ = './cascade-rcnn_r18_fpn_shapes.py'

model = dict(
    rpn_head=dict(
        _delete_=True,
        type='CenterNetRPNHead',
        in_channels=64,
        stacked_convs=2,
        feat_channels=64,
        strides=[8, 16, 32],
        regress_ranges=((0, 20), (16, 36), (30, 1e8)),
        norm_cfg=dict(type='GN', num_groups=8),
        loss_cls=dict(
            type='GaussianFocalLoss', pos_weight=0.125, neg_weight=0.375, loss_weight=1.0, ignore_high_fp=0.85
        ),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
    ),
    train_cfg=dict(rpn=dict(_delete_=True), rpn_proposal=dict(score_thr=0.01, nms=dict(iou_threshold=0.9))),
    test_cfg=dict(
        rpn=dict(score_thr=0.01, nms=dict(iou_threshold=0.9)),
        rcnn=dict(mult_proposal_score=True),
    ),
)
