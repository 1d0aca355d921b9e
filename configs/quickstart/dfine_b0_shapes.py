_base_ = [
    '../_base_/models/dfine_hgnetv2.py',
    '../_base_/datasets/shapes_detection.py',
    './shapes_schedule.py',
]

# A small detector for small pictures: the smallest HGNetV2, trained from random weights.
attention = dict(embed_dims=128)
model = dict(
    num_queries=30,
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(arch='B0', affine=True, frozen_stages=-1, norm_cfg=dict(requires_grad=True), norm_eval=False),
    neck=dict(
        in_channels=[256, 512, 1024],
        out_channels=128,
        feedforward_channels=256,
        num_blocks=1,
        expansion=0.5,
    ),
    decoder=dict(
        num_layers=3,
        layer_cfg=dict(
            self_attn_cfg=attention,
            cross_attn_cfg=attention,
            ffn_cfg=dict(embed_dims=128, feedforward_channels=256),
        ),
    ),
    bbox_head=dict(num_classes=5, embed_dims=128),
    dn_cfg=dict(group_cfg=dict(num_dn_queries=20)),
    test_cfg=dict(max_per_img=30),
)

optim_wrapper = dict(
    optimizer=dict(lr=0.0005, weight_decay=0.0001),
    clip_grad=dict(max_norm=1),
)
