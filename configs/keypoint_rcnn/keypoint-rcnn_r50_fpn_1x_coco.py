_base_ = [
    '../_base_/models/keypoint-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_keypoints.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

# Keypoints of small persons are rarely labeled, and their loss is large at first: as in Detectron2, boxes are smoothed.
model = dict(
    roi_head=dict(bbox_head=dict(loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=0.5, loss_weight=1.0)))
)
