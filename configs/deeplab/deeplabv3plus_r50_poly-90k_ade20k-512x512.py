_base_ = [
    '../_base_/models/deeplabv3plus_r50.py',
    '../_base_/datasets/ade20k_semantic.py',
    '../_base_/schedules/schedule_poly_90k.py',
]
