_base_ = './fovea_r101_fpn_4xb4-2x_coco.py'

model = dict(bbox_head=dict(with_deform=True, norm_cfg=dict(type='GN', num_groups=32, requires_grad=True)))
