_base_ = './dino_r18_shapes.py'

model = dict(
    type='DDQDETR',
    dense_topk_ratio=1.5,
    dqs_cfg=dict(type='nms', iou_threshold=0.8),
    bbox_head=dict(type='DDQDETRHead'),
)
