# D-FINE-L
attention = dict(embed_dims=256, num_heads=8, dropout=0.0)
model = dict(
    type='DFINE',
    num_queries=300,
    num_feature_levels=3,
    # images in [0, 1], not standardized
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[0, 0, 0], std=[255, 255, 255], bgr_to_rgb=True),
    backbone=dict(
        type='HGNetV2',
        arch='B4',
        affine=False,
        out_indices=(1, 2, 3),
        frozen_stages=0,
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
    ),
    neck=dict(
        type='DFINEHybridEncoder',
        in_channels=[512, 1024, 2048],
        out_channels=256,
        encode_levels=[2],
        num_encoder_layers=1,
        num_heads=8,
        feedforward_channels=1024,
        num_blocks=3,
        expansion=1.0,
    ),
    decoder=dict(
        num_layers=6,
        layer_cfg=dict(
            self_attn_cfg=attention,
            cross_attn_cfg=dict(attention, num_levels=3, num_points=[3, 6, 3]),
            ffn_cfg=dict(embed_dims=256, feedforward_channels=1024, ffn_drop=0.0),
        ),
    ),
    bbox_head=dict(
        type='DFINEHead',
        num_classes=80,
        embed_dims=256,
        num_bins=32,
        up=0.5,
        reg_scale=4.0,
        sync_cls_avg_factor=True,
        loss_cls=dict(type='VarifocalLoss', use_sigmoid=True, alpha=0.75, gamma=2.0, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='GIoULoss', loss_weight=2.0),
        loss_edges=dict(type='DistributionFocalLoss', loss_weight=0.15),
        loss_distill=dict(type='DecoupledDistillationFocalLoss', T=5.0, loss_weight=1.5),
    ),
    dn_cfg=dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=100),
    ),
    train_cfg=dict(
        assigner=dict(
            type='HungarianAssigner',
            match_costs=[
                dict(type='FocalLossCost', weight=2.0),
                dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                dict(type='IoUCost', iou_mode='giou', weight=2.0),
            ],
        )
    ),
    test_cfg=dict(max_per_img=300),
)
