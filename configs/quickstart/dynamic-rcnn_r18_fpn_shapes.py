_base_ = './faster-rcnn_r18_fpn_shapes.py'

model = dict(
    roi_head=dict(
        type='DynamicRoIHead',
        bbox_head=dict(loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=1.0, loss_weight=1.0)),
    ),
    train_cfg=dict(
        rcnn=dict(
            dynamic_rcnn=dict(iou_topk=20, beta_topk=5, update_iter_interval=50, initial_iou=0.4, initial_beta=1.0)
        )
    ),
)
