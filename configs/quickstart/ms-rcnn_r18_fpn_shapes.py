_base_ = './mask-rcnn_r18_fpn_shapes.py'

model = dict(
    type='MaskScoringRCNN',
    roi_head=dict(
        type='MaskScoringRoIHead',
        mask_iou_head=dict(
            type='MaskIoUHead',
            num_convs=2,
            num_fcs=1,
            roi_feat_size=14,
            in_channels=64,
            conv_out_channels=64,
            fc_out_channels=128,
            num_classes=5,
        ),
    ),
    train_cfg=dict(rcnn=dict(mask_thr_binary=0.5)),
)
