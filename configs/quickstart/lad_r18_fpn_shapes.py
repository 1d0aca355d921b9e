_base_ = './paa_r18_fpn_shapes.py'

# Without teacher_ckpt the teacher keeps random weights: train configs/quickstart/paa_r18_fpn_shapes.py first, then
#   --cfg-options model.teacher_ckpt=work_dirs/paa_r18_fpn_shapes/epoch_12.pth
model = dict(
    type='LAD',
    bbox_head=dict(type='LADHead'),
    teacher_ckpt=None,
    teacher_backbone={{_base_.model.backbone}},
    teacher_neck={{_base_.model.neck}},
    teacher_bbox_head={{_base_.model.bbox_head}},
)
