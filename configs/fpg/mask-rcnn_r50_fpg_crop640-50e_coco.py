_base_ = './mask-rcnn_r50_fpg-chn128_crop640-50e_coco.py'

model = dict(
    neck=dict(out_channels=256, inter_channels=256),
    rpn_head=dict(in_channels=256),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=256),
        bbox_head=dict(in_channels=256),
        mask_roi_extractor=dict(out_channels=256),
        mask_head=dict(in_channels=256),
    ),
)
