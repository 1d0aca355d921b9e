_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

# For checkpoints of the toolbox's first version, in which a box from pixel 0 to pixel 8 was 9 pixels wide.
model = dict(
    bbox_head=dict(
        anchor_generator=dict(type='LegacyAnchorGenerator', center_offset=0.5),
        bbox_coder=dict(type='LegacyDeltaXYWHBBoxCoder'),
        loss_bbox=dict(type='SmoothL1Loss', beta=0.11),
    )
)
