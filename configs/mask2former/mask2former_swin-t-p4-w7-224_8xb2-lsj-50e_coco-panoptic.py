_base_ = './mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'

checkpoint = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_tiny_patch4_window7_224.pth'
depths = [2, 2, 6, 2]
model = dict(
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        embed_dims=96,
        depths=depths,
        num_heads=[3, 6, 12, 24],
        window_size=7,
        mlp_ratio=4,
        qkv_bias=True,
        qk_scale=None,
        drop_rate=0.0,
        attn_drop_rate=0.0,
        drop_path_rate=0.3,
        patch_norm=True,
        out_indices=(0, 1, 2, 3),
        with_cp=False,
        convert_weights=True,
        frozen_stages=-1,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
    ),
    panoptic_head=dict(in_channels=[96, 192, 384, 768]),
)

# norms, position tables and embeddings decay no weights; the backbone learns a tenth as fast
norm = dict(lr_mult=0.1, decay_mult=0.0)
embed = dict(lr_mult=1.0, decay_mult=0.0)
norms = {f'backbone.stages.{i}.blocks.{j}.norm': norm for i, depth in enumerate(depths) for j in range(depth)}
downsamples = {f'backbone.stages.{i}.downsample.norm': norm for i in range(len(depths) - 1)}
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'backbone': dict(lr_mult=0.1, decay_mult=1.0),
            'backbone.patch_embed.norm': norm,
            'backbone.norm': norm,
            'absolute_pos_embed': norm,
            'relative_position_bias_table': norm,
            'query_embed': embed,
            'query_feat': embed,
            'level_embed': embed,
            **norms,
            **downsamples,
        },
        norm_decay_mult=0.0,
    )
)
