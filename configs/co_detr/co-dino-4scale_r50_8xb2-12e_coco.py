_base_ = ['../dino/dino-4scale_r50_8xb2-12e_coco.py', '../_base_/models/co_detr_heads.py']

model = dict(type='CoDINO', auxiliary_heads={{_base_.auxiliary_heads}})
