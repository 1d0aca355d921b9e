_base_ = './atss_r18_fpn_shapes.py'

model = dict(
    type='PAA',
    bbox_head=dict(type='PAAHead', topk=9, loss_bbox=dict(loss_weight=1.3), loss_centerness=dict(loss_weight=0.5)),
    train_cfg=dict(
        assigner=dict(_delete_=True, type='MaxIoUAssigner', pos_iou_thr=0.1, neg_iou_thr=0.1, min_pos_iou=0)
    ),
)
