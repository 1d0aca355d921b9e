_base_ = './rtdetr_r50vd.py'

# D-FINE-L
model = dict(
    type='DFINE',
    backbone=dict(
        _delete_=True,
        type='HGNetV2',
        arch='B4',
        affine=False,
        out_indices=(1, 2, 3),
        frozen_stages=0,
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
    ),
    neck=dict(type='DFINEHybridEncoder', num_blocks=3),
    decoder=dict(layer_cfg=dict(cross_attn_cfg=dict(num_points=[3, 6, 3]))),
    bbox_head=dict(
        type='DFINEHead',
        num_bins=32,
        up=0.5,
        reg_scale=4.0,
        loss_edges=dict(type='DistributionFocalLoss', loss_weight=0.15),
        loss_distill=dict(type='DecoupledDistillationFocalLoss', T=5.0, loss_weight=1.5),
    ),
)
