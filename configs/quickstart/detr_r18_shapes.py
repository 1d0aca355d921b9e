_base_ = [
    '../_base_/models/detr_r50.py',
    '../_base_/datasets/shapes_detection.py',
    './shapes_schedule.py',
]

# A small detector for small pictures: a narrow ResNet-18, trained from random weights.
attention = dict(embed_dims=128, dropout=0.0)
ffn = dict(embed_dims=128, feedforward_channels=512, ffn_drop=0.0)
model = dict(
    num_queries=20,
    backbone=dict(
        depth=18,
        base_channels=32,
        out_indices=(2,),
        frozen_stages=-1,
        norm_cfg=dict(requires_grad=True),
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[128], out_channels=128),
    encoder=dict(num_layers=2, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)),
    decoder=dict(
        num_layers=3,
        layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
    ),
    positional_encoding=dict(num_feats=64),
    bbox_head=dict(num_classes=5, embed_dims=128),
    test_cfg=dict(max_per_img=20),
)

# slow to learn what an object is: longer, and with smaller steps
train_cfg = dict(max_epochs=24)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=24, eta_min_ratio=0.01, convert_to_iter_based=True),
]
optim_wrapper = dict(optimizer=dict(lr=0.0004, weight_decay=0.0001), clip_grad=dict(max_norm=1))
