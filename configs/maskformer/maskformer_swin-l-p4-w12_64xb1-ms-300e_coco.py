_base_ = './maskformer_r50_ms-16xb1-75e_coco.py'

checkpoint = (
    'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_large_patch4_window12_384_22k.pth'
)
model = dict(
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        pretrain_img_size=384,
        embed_dims=192,
        patch_size=4,
        window_size=12,
        mlp_ratio=4,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        qkv_bias=True,
        qk_scale=None,
        drop_rate=0.0,
        attn_drop_rate=0.0,
        drop_path_rate=0.3,
        patch_norm=True,
        out_indices=(0, 1, 2, 3),
        with_cp=False,
        convert_weights=True,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
    ),
    panoptic_head=dict(
        in_channels=[192, 384, 768, 1536],
        pixel_decoder=dict(
            _delete_=True, type='PixelDecoder', norm_cfg=dict(type='GN', num_groups=32), act_cfg=dict(type='ReLU')
        ),
        enforce_decoder_input_project=True,
    ),
)

# no decay of norms, embeddings and position tables
norm = dict(lr_mult=1.0, decay_mult=0.0)
optim_wrapper = dict(
    optimizer=dict(lr=6e-5, weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys={
            'norm': norm,
            'absolute_pos_embed': norm,
            'relative_position_bias_table': norm,
            'query_embed': norm,
        }
    ),
)
max_epochs = 300
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=[250], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=64)
