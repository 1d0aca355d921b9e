_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

# The plain transformer of DINOv3 (arXiv 2508.10104) by timm, whose one map SimpleFPN (ViTDet) makes a pyramid of.
norm_cfg = dict(type='LN2d', requires_grad=True)
model = dict(
    backbone=dict(
        _delete_=True,
        type='TIMMBackbone',
        model_name='vit_small_patch16_dinov3',
        features_only=True,
        pretrained=True,
        out_indices=[-1],
    ),
    neck=dict(
        _delete_=True,
        type='SimpleFPN',
        backbone_channel=384,
        in_channels=[96, 192, 384, 384],
        out_channels=256,
        num_outs=5,
        norm_cfg=norm_cfg,
    ),
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=0.0001, weight_decay=0.05),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1)), norm_decay_mult=0),
)
