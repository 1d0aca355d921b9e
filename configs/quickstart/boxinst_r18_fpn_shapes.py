_base_ = './condinst_r18_fpn_shapes.py'

# masks are learned from boxes and colors: annotated ones serve the evaluation alone
model = dict(
    type='BoxInst',
    data_preprocessor=dict(
        _delete_=True,
        type='BoxInstDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        bottom_pixels_removed=0,
    ),
    bbox_head=dict(type='BoxInstBboxHead'),
    mask_head=dict(type='BoxInstMaskHead', warmup_iters=200),
)
