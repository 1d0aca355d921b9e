"""Tiny config of a detector that finds instances by their centers in a semantic segmentation."""

from .common import GROUPS, NUM_STUFF, SEGMENTS, family, parts

DECODER = dict(
    in_indices=(0, 1, 3),
    project_channels=(4, 4),
    channels=(8, 8),
    aspp_channels=8,
    dilations=(1, 2, 3),
    dropout=0.0,
    norm_cfg=GROUPS,
)


@family
def panoptic_deeplab(num_classes: int = 3) -> dict:
    common = dict(in_channels=(8, 16, 64), decoder=DECODER, head_channels=8)
    semantic = dict(type='PanopticDeepLabSemanticHead', num_classes=num_classes + NUM_STUFF, **common)
    return parts(
        type='PanopticDeepLab',
        neck=None,
        data_preprocessor=dict(SEGMENTS, seg_pad_value=255),
        semantic_head=dict(semantic, small_area=200, loss_seg=dict(type='HardPixelLoss', kept_share=0.5)),
        center_head=dict(type='CenterOffsetHead', radius=3, **common),
        panoptic_fusion_head=dict(type='CenterFusionHead', num_things_classes=num_classes, num_stuff_classes=NUM_STUFF),
        test_cfg=dict(center_thr=0.01, max_per_img=20, stuff_area_limit=16),
    )
