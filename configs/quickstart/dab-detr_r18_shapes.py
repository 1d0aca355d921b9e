_base_ = './conditional-detr_r18_shapes.py'

ffn = dict(act_cfg=dict(_delete_=True, type='PReLU'))
model = dict(
    type='DABDETR',
    encoder=dict(layer_cfg=dict(ffn_cfg=ffn)),
    decoder=dict(layer_cfg=dict(ffn_cfg=ffn)),
    positional_encoding=dict(temperature=20),
    bbox_head=dict(type='DABDETRHead', loss_cls=dict(loss_weight=1.0)),
)
