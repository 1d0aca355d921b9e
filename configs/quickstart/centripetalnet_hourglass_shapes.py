_base_ = './cornernet_hourglass_shapes.py'

model = dict(
    bbox_head=dict(
        _delete_=True,
        type='CentripetalHead',
        num_classes=5,
        in_channels=64,
        num_feat_levels=1,
        loss_heatmap=dict(type='GaussianFocalLoss', alpha=2.0, gamma=4.0, loss_weight=1.0),
        loss_offset=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
        loss_guiding_shift=dict(type='SmoothL1Loss', beta=1.0, loss_weight=0.05),
        loss_centripetal_shift=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
    )
)
