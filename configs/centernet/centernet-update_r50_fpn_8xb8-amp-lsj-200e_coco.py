_base_ = '../retinanet/retinanet_r50_fpn_8xb8-amp-lsj-200e_coco.py'

model = dict(
    type='CenterNet',
    neck=dict(
        add_extra_convs='on_output', init_cfg=dict(type='Caffe2Xavier', layer='Conv2d'), relu_before_extra_convs=True
    ),
    bbox_head=dict(
        _delete_=True,
        type='CenterNetUpdateHead',
        num_classes=80,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        strides=[8, 16, 32, 64, 128],
        loss_cls=dict(type='GaussianFocalLoss', pos_weight=0.25, neg_weight=0.75, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
    ),
    train_cfg=None,
    test_cfg=dict(nms=dict(iou_threshold=0.6)),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.00025, by_epoch=False, begin=0, end=4000),
    dict(type='MultiStepLR', begin=0, end=25, by_epoch=True, milestones=[22, 24], gamma=0.1),
]
optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=0.0))
