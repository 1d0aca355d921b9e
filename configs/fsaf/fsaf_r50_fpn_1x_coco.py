_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    type='FSAF',
    bbox_head=dict(
        _delete_=True,
        type='FSAFHead',
        num_classes=80,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        reg_decoded_bbox=True,
        # only the centers of anchors and the sizes of cells matter
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=1,
            scales_per_octave=1,
            ratios=[1.0],
            strides=[8, 16, 32, 64, 128],
        ),
        bbox_coder=dict(type='TBLRBBoxCoder', normalizer=4.0),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0, reduction='none'),
        loss_bbox=dict(type='IoULoss', eps=1e-6, loss_weight=1.0, reduction='none'),
    ),
    train_cfg=dict(
        assigner=dict(_delete_=True, type='CenterRegionAssigner', pos_scale=0.2, neg_scale=0.2, min_pos_iof=0.01),
    ),
)

optim_wrapper = dict(clip_grad=dict(max_norm=10, norm_type=2))
