_base_ = './mask2former_swin-s-p4-w7-224_8xb2-lsj-50e_coco-panoptic.py'

model = dict(
    backbone=dict(
        pretrain_img_size=384,
        embed_dims=128,
        num_heads=[4, 8, 16, 32],
        window_size=12,
        init_cfg=dict(
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_base_patch4_window12_384.pth'
        ),
    ),
    panoptic_head=dict(in_channels=[128, 256, 512, 1024]),
)
