# Mask R-CNN from scratch, its norms over all GPUs, on images padded to 1024x1024
_base_ = './mask-rcnn_r50_fpn.py'

model = dict(
    data_preprocessor=dict(batch_augments=[dict(type='BatchFixedSizePad', size=(1024, 1024), pad_mask=True)]),
    backbone=dict(frozen_stages=-1, norm_cfg=dict(type='SyncBN'), norm_eval=False, init_cfg=None),
    neck=dict(norm_cfg=dict(type='SyncBN', requires_grad=True)),
    rpn_head=dict(num_convs=2),
    roi_head=dict(
        bbox_head=dict(
            type='Shared4Conv1FCBBoxHead', conv_out_channels=256, norm_cfg=dict(type='MMSyncBN', requires_grad=True)
        ),
        mask_head=dict(norm_cfg=dict(type='MMSyncBN', requires_grad=True)),
    ),
)
