_base_ = './htc_r101_fpn_20e_coco.py'

model = dict(
    backbone=dict(type='ResNeXt', init_cfg=dict(checkpoint='open-mmlab://resnext101_64x4d'), groups=64, base_width=4)
)
train_dataloader = dict(batch_size=1, num_workers=1)
