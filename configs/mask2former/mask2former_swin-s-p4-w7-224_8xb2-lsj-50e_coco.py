_base_ = './mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco.py'

model = dict(
    backbone=dict(
        depths=[2, 2, 18, 2],
        init_cfg=dict(
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_small_patch4_window7_224.pth'
        ),
    )
)

# the blocks that the third stage has beyond those of Swin-T
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            f'backbone.stages.2.blocks.{block}.norm': dict(lr_mult=0.1, decay_mult=0.0) for block in range(6, 18)
        }
    )
)
