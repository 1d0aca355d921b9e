_base_ = './dino_r18_shapes.py'

strides = [8, 16, 32, 64]
auxiliary_heads = [
    dict(
        type='AuxiliaryRegionHead',
        rpn_head=dict(
            type='RPNHead',
            in_channels=128,
            feat_channels=64,
            anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0, 2.0], strides=strides),
        ),
        roi_head=dict(
            type='StandardRoIHead',
            bbox_roi_extractor=dict(
                type='SingleRoIExtractor',
                roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=2),
                out_channels=128,
                featmap_strides=strides[:3],
            ),
            bbox_head=dict(
                type='Shared2FCBBoxHead',
                in_channels=128,
                fc_out_channels=128,
                roi_feat_size=7,
                bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
                loss_bbox=dict(type='L1Loss', loss_weight=1.0),
            ),
        ),
        train_cfg=dict(
            rpn=dict(
                assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
                sampler=dict(type='RandomSampler', num=128, pos_fraction=0.5, add_gt_as_proposals=False),
            ),
            rpn_proposal=dict(nms_pre=500, max_per_img=200, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
            rcnn=dict(
                assigner=dict(
                    type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, match_low_quality=False
                ),
                sampler=dict(type='RandomSampler', num=64, pos_fraction=0.25, add_gt_as_proposals=True),
            ),
        ),
    ),
    dict(
        type='AuxiliaryDenseHead',
        head=dict(
            type='ATSSHead',
            in_channels=128,
            stacked_convs=1,
            feat_channels=64,
            norm_cfg=dict(type='GN', num_groups=8),
            anchor_generator=dict(
                type='AnchorGenerator', ratios=[1.0], octave_base_scale=4, scales_per_octave=1, strides=strides
            ),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
            loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
            loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
            loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
            train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1),
        ),
    ),
]
model = dict(type='CoDINO', auxiliary_heads=auxiliary_heads)
