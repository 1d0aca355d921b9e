_base_ = '../fast_rcnn/fast-rcnn_r50-caffe_fpn_1x_coco.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            bbox_coder=dict(target_stds=[0.04, 0.04, 0.08, 0.08]),
            loss_cls=dict(loss_weight=1.5),
            loss_bbox=dict(type='SmoothL1Loss', beta=1.0),
        )
    ),
    train_cfg=dict(
        rcnn=dict(assigner=dict(pos_iou_thr=0.65, neg_iou_thr=0.65, min_pos_iou=0.65), sampler=dict(num=256))
    ),
    test_cfg=dict(rcnn=dict(score_thr=0.001)),
)
train_dataloader = dict(dataset=dict(proposal_file='proposals/crpn_r50_caffe_fpn_1x_train2017.pkl'))
val_dataloader = dict(dataset=dict(proposal_file='proposals/crpn_r50_caffe_fpn_1x_val2017.pkl'))
test_dataloader = val_dataloader
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
