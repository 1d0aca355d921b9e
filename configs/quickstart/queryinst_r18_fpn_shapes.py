_base_ = './sparse-rcnn_r18_fpn_shapes.py'

num_stages = 3
mask_head = dict(
    type='DynamicMaskHead',
    num_convs=2,
    num_classes=5,
    roi_feat_size=14,
    in_channels=64,
    conv_out_channels=64,
    dynamic_conv_cfg=dict(
        type='DynamicConv',
        in_channels=64,
        feat_channels=16,
        out_channels=64,
        input_feat_shape=14,
        with_proj=False,
        act_cfg=dict(type='ReLU', inplace=True),
        norm_cfg=dict(type='LN'),
    ),
    loss_mask=dict(type='DiceLoss', loss_weight=8.0, use_sigmoid=True, activate=False, eps=1e-5),
)
rcnn = dict(
    assigner=dict(
        type='HungarianAssigner',
        match_costs=[
            dict(type='FocalLossCost', weight=2.0),
            dict(type='BBoxL1Cost', weight=5.0, box_format='xyxy'),
            dict(type='IoUCost', iou_mode='giou', weight=2.0),
        ],
    ),
    sampler=dict(type='PseudoSampler'),
    pos_weight=1,
    mask_size=28,
)
model = dict(
    type='QueryInst',
    data_preprocessor=dict(pad_mask=True),
    roi_head=dict(
        mask_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=2),
            out_channels=64,
            featmap_strides=[8, 16, 32],
            finest_scale=48,
        ),
        mask_head=[mask_head] * num_stages,
    ),
    train_cfg=dict(rcnn=[rcnn] * num_stages),
    test_cfg=dict(rcnn=dict(mask_thr_binary=0.5)),
)

train_pipeline = [
    dict(type='LoadShapesImage'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical']),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
