_base_ = './reppoints-bbox_r50-center_fpn-gn_head-gn-grid_1x_coco.py'

model = dict(
    train_cfg=dict(
        init=dict(
            assigner=dict(
                _delete_=True,
                type='MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.4,
                min_pos_iou=0,
                ignore_iof_thr=-1,
            ),
        ),
    ),
)
