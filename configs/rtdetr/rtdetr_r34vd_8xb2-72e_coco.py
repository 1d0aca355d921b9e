_base_ = './rtdetr_r18vd_8xb2-72e_coco.py'

model = dict(backbone=dict(depth=34), decoder=dict(num_layers=4))
