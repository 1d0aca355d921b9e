_base_ = './faster-rcnn_r50-caffe_fpn_1x_coco.py'

model = dict(roi_head=dict(bbox_head=dict(num_classes=1)))

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='RandomChoiceResize',
        scales=[(1333, 640), (1333, 672), (1333, 704), (1333, 736), (1333, 768), (1333, 800)],
        keep_ratio=True,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    dataset=dict(pipeline=train_pipeline, metainfo=dict(classes=['person'], palette=[[220, 20, 60]]))
)
val_dataloader = dict(dataset=dict(metainfo=dict(classes=['person'], palette=[[220, 20, 60]])))
test_dataloader = val_dataloader
load_from = 'https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r50_caffe_fpn_mstrain_3x_coco/faster_rcnn_r50_caffe_fpn_mstrain_3x_coco_bbox_mAP-0.398_20200504_163323-30042637.pth'
