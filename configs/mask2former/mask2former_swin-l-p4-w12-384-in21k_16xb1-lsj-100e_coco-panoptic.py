_base_ = './mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic.py'

model = dict(
    backbone=dict(
        embed_dims=192,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        window_size=12,
        init_cfg=dict(
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_large_patch4_window12_384_22k.pth'
        ),
        pretrain_img_size=384,
    ),
    panoptic_head=dict(in_channels=[192, 384, 768, 1536], num_queries=200),
)

train_pipeline = [
    dict(type='LoadImageFromFile', to_float32=True, backend_args={{_base_.backend_args}}),
    dict(
        type='LoadPanopticAnnotations',
        with_bbox=True,
        with_mask=True,
        with_seg=True,
        backend_args={{_base_.backend_args}},
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(
        type='RandomCrop', crop_size=(1024, 1024), crop_type='absolute', recompute_bbox=True, allow_negative_crop=True
    ),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(batch_size=1, num_workers=1, dataset=dict(pipeline=train_pipeline))

train_cfg = dict(max_iters=737500, dynamic_intervals=[(735001, 737500)])
param_scheduler = dict(end=737500, milestones=[655556, 710184])
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            f'backbone.stages.2.blocks.{block}.norm': dict(lr_mult=0.1, decay_mult=0.0) for block in range(6, 18)
        }
    )
)
