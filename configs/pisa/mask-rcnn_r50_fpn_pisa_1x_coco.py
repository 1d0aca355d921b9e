_base_ = '../mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'

model = dict(
    roi_head=dict(
        type='PISARoIHead',
        bbox_head=dict(loss_bbox=dict(type='SmoothL1Loss', loss_weight=1.0, beta=1.0)),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=2000, max_per_img=2000),
        rcnn=dict(
            sampler=dict(type='ScoreHLRSampler', num=512, pos_fraction=0.25, k=0.5, bias=0.0),
            isr=dict(k=2, bias=0),
            carl=dict(k=1, bias=0.2),
        ),
    ),
    test_cfg=dict(rpn=dict(nms_pre=2000, max_per_img=2000)),
)
