_base_ = './gfl_r18_fpn_shapes.py'

# Without teacher_ckpt the teacher keeps random weights: train configs/quickstart/gfl_r18_fpn_shapes.py first, then
#   --cfg-options model.teacher_ckpt=work_dirs/gfl_r18_fpn_shapes/epoch_12.pth
model = dict(
    type='KnowledgeDistillationSingleStageDetector',
    teacher_config='configs/quickstart/gfl_r18_fpn_shapes.py',
    teacher_ckpt=None,
    bbox_head=dict(type='LDHead', loss_ld=dict(type='KnowledgeDistillationKLDivLoss', loss_weight=0.25, T=10)),
)
