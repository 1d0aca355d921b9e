_base_ = './retinanet_r18_fpn_1x_coco.py'

train_dataloader = dict(batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=0.005))

# 1 GPU with 8 images
auto_scale_lr = dict(base_batch_size=8)
