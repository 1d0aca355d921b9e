# The schedule of DeepLab: 90 thousand batches of 16 pictures, the rate falls with the power 0.9 of the time that is left.
_base_ = '../default_runtime.py'

train_cfg = dict(type='IterBasedTrainLoop', max_iters=90000, val_interval=5000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='PolyLR', power=0.9, eta_min=0, by_epoch=False, begin=0, end=90000),
]
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001))
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=5000, max_keep_ckpts=3))
log_processor = dict(by_epoch=False)

# 8 GPUs with 2 pictures each
auto_scale_lr = dict(enable=False, base_batch_size=16)
