_base_ = './mask-rcnn_r18_fpn_shapes.py'

# Mask R-CNN that sees no masks in training: ten points of each object say whether they lie inside
model = dict(roi_head=dict(type='PointSupRoIHead'))

train_pipeline = [
    dict(type='LoadShapesImage'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='LoadMaskPoints', num_points=10),
    dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical']),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
