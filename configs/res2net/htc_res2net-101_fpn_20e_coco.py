_base_ = '../htc/htc_r101_fpn_20e_coco.py'

model = dict(
    backbone=dict(
        type='Res2Net', init_cfg=dict(checkpoint='open-mmlab://res2net101_v1d_26w_4s'), scales=4, base_width=26
    )
)
