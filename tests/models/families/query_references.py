"""Tiny configs of detectors whose queries have references that are points or boxes."""

from .common import FOCAL, family
from .query import ATTENTION, BOX_COSTS, DIMS, FEED, detr, matcher

CONDITIONAL = dict(embed_dims=DIMS, num_heads=2)
PRELU = dict(FEED, act_cfg=dict(type='PReLU'))


@family
def conditional_detr(num_classes: int = 3) -> dict:
    cfg = detr(num_classes)
    layer = dict(self_attn_cfg=CONDITIONAL, cross_attn_cfg=CONDITIONAL, ffn_cfg=FEED)
    cfg.update(type='ConditionalDETR', decoder=dict(num_layers=2, layer_cfg=layer, return_intermediate=True))
    cfg['bbox_head'].update(type='ConditionalDETRHead', loss_cls=dict(FOCAL, loss_weight=2.0))
    cfg['train_cfg'] = matcher(dict(type='FocalLossCost', weight=2.0), *BOX_COSTS)
    return cfg


def dab(num_classes: int, **changes) -> dict:
    """Config of a DAB-DETR with changes of its decoder."""
    cfg = conditional_detr(num_classes)
    layer = dict(cfg['decoder']['layer_cfg'], ffn_cfg=PRELU)
    cfg.update(type='DABDETR', decoder=dict(cfg['decoder'], layer_cfg=layer, **changes))
    cfg['encoder'] = dict(num_layers=1, layer_cfg=dict(self_attn_cfg=ATTENTION, ffn_cfg=PRELU))
    cfg['bbox_head']['type'] = 'DABDETRHead'
    return cfg


@family
def dab_detr(num_classes: int = 3) -> dict:
    return dab(num_classes)


@family
def dab_detr_patterns(num_classes: int = 3) -> dict:
    options = dict(query_scale_type='fix_elewise', with_modulated_hw_attn=False)
    return dict(dab(num_classes, **options), num_patterns=2, with_random_refpoints=True, num_queries=5)
