_base_ = './htc_r18_fpn_shapes.py'

bbox_head = dict(
    type='SCNetBBoxHead',
    num_shared_fcs=2,
    in_channels=64,
    fc_out_channels=128,
    roi_feat_size=7,
    num_classes=5,
    reg_class_agnostic=True,
    loss_cls=dict(type='CrossEntropyLoss', loss_weight=1.0),
    loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
)
extractor = dict(type='SingleRoIExtractor', out_channels=64)
model = dict(
    type='SCNet',
    roi_head=dict(
        _delete_=True,
        type='SCNetRoIHead',
        num_stages=3,
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_roi_extractor=dict(
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            featmap_strides=[8, 16],
            finest_scale=48,
            **extractor,
        ),
        bbox_head=[
            dict(bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=stds), **bbox_head)
            for stds in ([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067])
        ],
        mask_roi_extractor=dict(
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0),
            featmap_strides=[8, 16],
            finest_scale=48,
            **extractor,
        ),
        mask_head=dict(
            type='SCNetMaskHead',
            num_convs=4,
            in_channels=64,
            conv_out_channels=64,
            num_classes=5,
            conv_to_res=True,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
        ),
        semantic_roi_extractor=dict(
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0), featmap_strides=[8], **extractor
        ),
        semantic_head=dict(
            type='SCNetSemanticHead',
            num_ins=3,
            fusion_level=0,
            seg_scale_factor=1 / 8,
            num_convs=2,
            in_channels=64,
            conv_out_channels=64,
            num_classes=7,
            conv_to_res=True,
            loss_seg=dict(type='CrossEntropyLoss', ignore_index=255, loss_weight=0.2),
        ),
        # which of the things an image shows; stuff is everywhere
        glbctx_head=dict(
            type='GlobalContextHead',
            num_convs=2,
            in_channels=64,
            conv_out_channels=64,
            num_classes=5,
            loss_weight=3.0,
            conv_to_res=True,
        ),
        feat_relay_head=dict(
            type='FeatureRelayHead', in_channels=128, out_conv_channels=64, roi_feat_size=7, scale_factor=2
        ),
    ),
)
