_base_ = './faster-rcnn_r18_fpn_shapes.py'

model = dict(
    type='CrowdDet',
    roi_head=dict(
        type='MultiInstanceRoIHead',
        bbox_head=dict(
            type='MultiInstanceBBoxHead',
            with_refine=True,
            num_shared_fcs=2,
            loss_cls=dict(reduction='none'),
            loss_bbox=dict(_delete_=True, type='SmoothL1Loss', loss_weight=1.0, reduction='none'),
        ),
    ),
    train_cfg=dict(
        rcnn=dict(
            assigner=dict(type='MultiInstanceAssigner'),
            sampler=dict(type='MultiInsRandomSampler', pos_fraction=0.5, add_gt_as_proposals=False),
        )
    ),
)
