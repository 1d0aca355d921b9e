# Trains on the first 14 photos of the nuts (`NUTS=/path/to/nuts`) and tests on the last 4, by their place in
# trainval.json: see indices in ../_base_/datasets/nuts_instance.py.
_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/nuts_instance.py',
    './nuts_schedule.py',
]

num_classes = 3
attention = dict(embed_dims=96, num_heads=4)
ffn = dict(embed_dims=96, feedforward_channels=384)
# ResNet-18 from random weights, so its norms learn; no stuff, and queries for 25 nuts, twice what a photo shows.
model = dict(
    data_preprocessor=dict(pad_seg=False, batch_augments=None),
    backbone=dict(
        depth=18,
        base_channels=32,
        norm_cfg=dict(requires_grad=True),
        norm_eval=False,
        init_cfg=None,
    ),
    panoptic_head=dict(
        in_channels=[32, 64, 128, 256],
        feat_channels=96,
        out_channels=96,
        num_things_classes=num_classes,
        num_stuff_classes=0,
        num_queries=25,
        pixel_decoder=dict(
            norm_cfg=dict(num_groups=8),
            encoder=dict(
                num_layers=3,
                layer_cfg=dict(
                    self_attn_cfg=dict(embed_dims=96, num_heads=4),
                    ffn_cfg=dict(embed_dims=96, feedforward_channels=192),
                ),
            ),
            positional_encoding=dict(num_feats=48),
        ),
        positional_encoding=dict(num_feats=48),
        transformer_decoder=dict(
            num_layers=3,
            layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
        ),
        loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
    ),
    panoptic_fusion_head=dict(num_things_classes=num_classes, num_stuff_classes=0),
    train_cfg=dict(num_points=1024),
    test_cfg=dict(panoptic_on=False, max_per_image=25),
)

# queries take longer to find the nuts than anchors
max_epochs = 20
train_cfg = dict(max_epochs=max_epochs, val_interval=10)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=0,
        end=max_epochs,
        eta_min_ratio=0.01,
        convert_to_iter_based=True,
    ),
]
optim_wrapper = dict(optimizer=dict(lr=0.0005), clip_grad=dict(max_norm=1))
