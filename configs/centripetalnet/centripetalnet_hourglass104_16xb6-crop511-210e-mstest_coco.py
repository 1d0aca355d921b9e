_base_ = '../cornernet/cornernet_hourglass104_10xb5-crop511-210e-mstest_coco.py'

model = dict(
    bbox_head=dict(
        _delete_=True,
        type='CentripetalHead',
        num_classes=80,
        in_channels=256,
        num_feat_levels=2,
        corner_emb_channels=0,
        loss_heatmap=dict(type='GaussianFocalLoss', alpha=2.0, gamma=4.0, loss_weight=1),
        loss_offset=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1),
        loss_guiding_shift=dict(type='SmoothL1Loss', beta=1.0, loss_weight=0.05),
        loss_centripetal_shift=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1),
    )
)

# 16 GPUs with 6 images each
train_dataloader = dict(batch_size=6)
param_scheduler = [
    dict(type='LinearLR', start_factor=1.0 / 3, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=210, by_epoch=True, milestones=[190], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=96)
