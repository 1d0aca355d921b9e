_base_ = [
    '../_base_/models/mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all.py',
    '../common/ssj_270k_coco-instance.py',
]
