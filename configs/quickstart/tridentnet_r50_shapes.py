_base_ = './faster-rcnn_r18_fpn_shapes.py'

# The branches need bottlenecks, the smallest ResNet of which is ResNet-50: here with an eighth of its channels.
model = dict(
    type='TridentFasterRCNN',
    backbone=dict(
        type='TridentResNet',
        depth=50,
        base_channels=8,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2,),
        trident_dilations=(1, 2, 3),
        num_branch=3,
        test_branch_idx=1,
    ),
    neck=None,
    rpn_head=dict(in_channels=128, anchor_generator=dict(scales=[1.5, 3, 4.5], strides=[16])),
    roi_head=dict(
        type='TridentRoIHead',
        num_branch=3,
        test_branch_idx=1,
        bbox_roi_extractor=dict(out_channels=128, featmap_strides=[16]),
        bbox_head=dict(in_channels=128),
    ),
    train_cfg=dict(
        rpn_proposal=dict(max_per_img=100),
        rcnn=dict(sampler=dict(num=32, pos_fraction=0.5, add_gt_as_proposals=False)),
    ),
)
