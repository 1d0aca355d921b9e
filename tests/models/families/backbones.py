"""Tiny configs of detectors whose backbone is the news."""

import copy

from tests.models.tiny import config

from .common import family


@family
def convnext(num_classes: int = 3) -> dict:
    cfg = copy.deepcopy(config('faster_rcnn', num_classes))
    sizes = dict(depths=[1, 1, 1, 1], channels=[8, 16, 32, 64])
    cfg['backbone'] = dict(type='mmpretrain.ConvNeXt', arch=sizes, out_indices=[1, 2, 3])
    cfg['neck'].update(in_channels=[16, 32, 64], start_level=0)
    cfg['backbone'].update(gap_before_final_norm=False, layer_scale_init_value=0.1)
    return cfg


@family
def vitdet(num_classes: int = 3) -> dict:
    cfg = copy.deepcopy(config('faster_rcnn', num_classes))
    cfg['backbone'] = dict(type='ViT', img_size=64, pretrain_img_size=64, patch_size=16, embed_dim=16, depth=2)
    cfg['backbone'].update(num_heads=2, window_size=3, window_block_indexes=[0], use_rel_pos=True)
    cfg['neck'] = dict(type='SimpleFPN', backbone_channel=16, in_channels=[4, 8, 16, 16], num_outs=4, out_channels=8)
    cfg['neck']['norm_cfg'] = dict(type='LN2d')
    cfg['rpn_head']['anchor_generator']['strides'] = [4, 8, 16, 32]
    cfg['roi_head']['bbox_roi_extractor']['featmap_strides'] = [4, 8, 16, 32]
    return cfg
