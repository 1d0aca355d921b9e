_base_ = './cornernet_hourglass104_10xb5-crop511-210e-mstest_coco.py'

train_dataloader = dict(batch_size=3)
auto_scale_lr = dict(base_batch_size=96)
