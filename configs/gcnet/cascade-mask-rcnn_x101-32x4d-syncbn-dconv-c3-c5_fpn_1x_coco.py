_base_ = './cascade-mask-rcnn_x101-32x4d-syncbn_fpn_1x_coco.py'

model = dict(
    backbone=dict(
        dcn=dict(type='DCN', deform_groups=1, fallback_on_stride=False), stage_with_dcn=(False, True, True, True)
    )
)
