_base_ = './rtdetr_r50vd_8xb2-72e_coco.py'

# RT-DETRv2, arXiv 2407.17140: the network of RT-DETR. The last two epochs see images as they are, and a run may be
# continued with cross_attn_cfg.method='discrete', whose attention reads whole pixels and needs no interpolation.
plain_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Resize', scale=(640, 640), keep_ratio=False),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='PackDetInputs'),
]
custom_hooks = [
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0001, update_buffers=True, priority=49),
    dict(type='PipelineSwitchHook', switch_epoch=70, switch_pipeline=plain_pipeline),
]
