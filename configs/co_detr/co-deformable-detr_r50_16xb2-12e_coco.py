_base_ = [
    '../deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco.py',
    '../_base_/models/co_detr_heads.py',
]

model = dict(type='CoDeformableDETR', num_queries=300, auxiliary_heads={{_base_.auxiliary_heads}})

max_epochs = 12
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=[11], gamma=0.1)]
