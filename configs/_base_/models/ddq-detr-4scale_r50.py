_base_ = './dino-4scale_r50.py'

model = dict(
    type='DDQDETR',
    dense_topk_ratio=1.5,
    dqs_cfg=dict(type='nms', iou_threshold=0.8),
    bbox_head=dict(type='DDQDETRHead'),
)
