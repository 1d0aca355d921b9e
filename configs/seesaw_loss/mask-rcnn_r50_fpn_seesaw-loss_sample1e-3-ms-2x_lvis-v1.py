_base_ = './mask-rcnn_r50_fpn_seesaw-loss-normed-mask_sample1e-3-ms-2x_lvis-v1.py'

model = dict(roi_head=dict(mask_head=dict(predictor_cfg=dict(_delete_=True, type='Conv'))))
