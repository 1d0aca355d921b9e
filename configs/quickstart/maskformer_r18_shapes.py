_base_ = [
    '../_base_/models/maskformer_r50.py',
    '../_base_/datasets/shapes_panoptic.py',
    './shapes_schedule.py',
]

# A small detector for small pictures: a narrow ResNet-18, trained from random weights.
num_things_classes = 5
num_stuff_classes = 2
num_classes = num_things_classes + num_stuff_classes
attention = dict(embed_dims=64, num_heads=4, dropout=0.0)
ffn = dict(embed_dims=64, feedforward_channels=256, ffn_drop=0.0)
model = dict(
    backbone=dict(
        depth=18,
        base_channels=32,
        norm_cfg=dict(requires_grad=True),
        norm_eval=False,
        init_cfg=None,
    ),
    panoptic_head=dict(
        in_channels=[32, 64, 128, 256],
        feat_channels=64,
        out_channels=64,
        num_things_classes=num_things_classes,
        num_stuff_classes=num_stuff_classes,
        num_queries=20,
        pixel_decoder=dict(
            norm_cfg=dict(num_groups=8),
            encoder=dict(num_layers=2, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)),
            positional_encoding=dict(num_feats=32),
        ),
        positional_encoding=dict(num_feats=32),
        transformer_decoder=dict(
            num_layers=3,
            layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
        ),
        loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
    ),
    panoptic_fusion_head=dict(num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes),
    test_cfg=dict(max_per_image=20),
)

optim_wrapper = dict(
    optimizer=dict(lr=0.0005, weight_decay=0.05),
    clip_grad=dict(max_norm=1),
    paramwise_cfg=dict(norm_decay_mult=0.0),
)
default_hooks = dict(checkpoint=dict(save_best='coco_panoptic/PQ'))
