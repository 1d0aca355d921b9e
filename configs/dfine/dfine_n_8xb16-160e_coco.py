_base_ = './dfine_s_8xb4-132e_coco.py'

# two levels, and queries half as wide
attention = dict(embed_dims=128, num_levels=2, num_points=[6, 6])
model = dict(
    num_feature_levels=2,
    backbone=dict(out_indices=(2, 3)),
    neck=dict(
        in_channels=[512, 1024],
        out_channels=128,
        encode_levels=[1],
        feedforward_channels=512,
        num_blocks=2,
        expansion=0.34,
    ),
    decoder=dict(
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=128),
            cross_attn_cfg=attention,
            ffn_cfg=dict(embed_dims=128, feedforward_channels=512),
        )
    ),
    bbox_head=dict(embed_dims=128),
)

train_dataloader = dict(batch_size=16)
optim_wrapper = dict(optimizer=dict(lr=0.0008))
train_cfg = dict(max_epochs=160)
custom_hooks = [
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0001, update_buffers=True, priority=49),
    dict(type='PipelineSwitchHook', switch_epoch=148, switch_pipeline={{_base_.plain_pipeline}}),
]
# 8 GPUs with 16 images each
auto_scale_lr = dict(base_batch_size=128)
