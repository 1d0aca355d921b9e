_base_ = '../mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'

# Mask R-CNN that sees no masks in training: ten points of each object say whether they lie inside. They are those of
# the annotations ("point_coords" and "point_labels"), else drawn with the help of the masks.
model = dict(roi_head=dict(type='PointSupRoIHead'))

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='LoadMaskPoints', num_points=10),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
