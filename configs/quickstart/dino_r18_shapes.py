_base_ = [
    '../_base_/models/dino-4scale_r50.py',
    '../_base_/datasets/shapes_detection.py',
    './shapes_schedule.py',
]

# A small detector for small pictures: a narrow ResNet-18, trained from random weights.
attention = dict(embed_dims=128, num_levels=3)
ffn = dict(embed_dims=128, feedforward_channels=512)
model = dict(
    num_queries=30,
    num_feature_levels=3,
    backbone=dict(
        depth=18,
        base_channels=32,
        frozen_stages=-1,
        norm_cfg=dict(requires_grad=True),
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[64, 128, 256], out_channels=128, norm_cfg=dict(num_groups=8), num_outs=3),
    encoder=dict(num_layers=2, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)),
    decoder=dict(
        num_layers=3,
        layer_cfg=dict(self_attn_cfg=dict(embed_dims=128), cross_attn_cfg=attention, ffn_cfg=ffn),
    ),
    positional_encoding=dict(num_feats=64),
    bbox_head=dict(num_classes=5, embed_dims=128),
    dn_cfg=dict(group_cfg=dict(num_dn_queries=20)),
    test_cfg=dict(max_per_img=30),
)

optim_wrapper = dict(
    optimizer=dict(lr=0.0005, weight_decay=0.0001),
    clip_grad=dict(max_norm=1),
    paramwise_cfg=dict(custom_keys={'sampling_offsets': dict(lr_mult=0.1), 'reference_points': dict(lr_mult=0.1)}),
)
