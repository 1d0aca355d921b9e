_base_ = '../cascade_rcnn/cascade-mask-rcnn_r50_fpn_ms-3x_coco.py'

model = dict(
    data_preprocessor=dict(mean=[103.53, 116.28, 123.675], std=[57.375, 57.12, 58.395], bgr_to_rgb=False),
    backbone=dict(
        _delete_=True,
        type='RegNet',
        arch='regnetx_4.0gf',
        out_indices=[0, 1, 2, 3],
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://regnetx_4.0gf'),
    ),
    neck=dict(in_channels=[80, 240, 560, 1360]),
)
optim_wrapper = dict(optimizer=dict(weight_decay=5e-05))
