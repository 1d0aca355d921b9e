_base_ = './mask-rcnn_r18_fpn_shapes.py'

# A small plain transformer, trained from random weights.
model = dict(
    backbone=dict(
        _delete_=True,
        type='ViT',
        img_size=128,
        pretrain_img_size=128,
        patch_size=8,
        embed_dim=128,
        depth=4,
        num_heads=4,
        window_size=8,
        window_block_indexes=[0, 2],
        use_rel_pos=True,
    ),
    neck=dict(
        _delete_=True,
        type='SimpleFPN',
        backbone_channel=128,
        in_channels=[32, 64, 128, 128],
        out_channels=64,
        num_outs=4,
        norm_cfg=dict(type='LN2d'),
    ),
    # patches of 8 pixels make maps of strides 2, 4, 8 and 16
    rpn_head=dict(anchor_generator=dict(scales=[6, 9], strides=[2, 4, 8, 16])),
    roi_head=dict(
        bbox_roi_extractor=dict(featmap_strides=[2, 4, 8, 16], finest_scale=24),
        mask_roi_extractor=dict(featmap_strides=[2, 4, 8, 16], finest_scale=24),
    ),
)
