_base_ = [
    '../_base_/models/conditional-detr_r50.py',
    '../_base_/datasets/coco_detection_detr-1333.py',
    '../_base_/schedules/schedule_detr_50e.py',
    '../_base_/default_runtime.py',
]
