_base_ = './retinanet_r18_fpn_shapes.py'

model = dict(
    neck=[
        dict(type='FPN', in_channels=[32, 64, 128, 256], out_channels=64, start_level=1, num_outs=3),
        dict(type='BFP', in_channels=64, num_levels=3, refine_level=1, refine_type='non_local'),
    ],
    bbox_head=dict(
        loss_bbox=dict(_delete_=True, type='BalancedL1Loss', alpha=0.5, gamma=1.5, beta=0.11, loss_weight=1.0)
    ),
)
