_base_ = './deeplabv3plus_r50_poly-90k_ade20k-512x512.py'

model = dict(
    semantic_head=dict(
        _delete_=True,
        type='DeepLabV3Head',
        num_classes=150,
        in_channels=2048,
        channels=256,
        dilations=(6, 12, 18),
        dropout=0.1,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        loss_seg=dict(type='HardPixelLoss', kept_share=0.2),
    )
)
