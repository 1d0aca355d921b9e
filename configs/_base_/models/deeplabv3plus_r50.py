# DeepLabv3+ (arXiv 1802.02611): the last stage is dilated, so that its maps are 1/16 of the image
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='SemanticSegmentor',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_seg=True,
        seg_pad_value=255,
    ),
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, (2, 4, 8)),
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    semantic_head=dict(
        type='DeepLabV3PlusHead',
        num_classes=150,
        in_channels=(256, 2048),
        decoder=dict(
            in_indices=(0, -1),
            project_channels=(48,),
            channels=(256,),
            aspp_channels=256,
            dilations=(6, 12, 18),
            dropout=0.1,
            norm_cfg=norm_cfg,
        ),
        loss_seg=dict(type='HardPixelLoss', kept_share=0.2),
    ),
)
