_base_ = './cascade-mask-rcnn_r101_fpn_seesaw-loss-normed-mask_random-ms-2x_lvis-v1.py'

model = dict(roi_head=dict(mask_head=dict(predictor_cfg=dict(_delete_=True, type='Conv'))))
