_base_ = [
    '../_base_/models/solo_r50_fpn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]

optim_wrapper = dict(optimizer=dict(lr=0.01))

# there are no boxes to measure: those of SOLO are zeros
val_evaluator = dict(metric='segm')
test_evaluator = val_evaluator
