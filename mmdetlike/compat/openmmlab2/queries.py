"""Detectors with queries: 2.x keeps the transformer in the head, 3.x encoder and decoder in the detector."""

from .report import Report, is_sequence, without_none

DETECTORS = ('DETR', 'DeformableDETR')
COSTS = ('cls_cost', 'reg_cost', 'iou_cost', 'mask_cost', 'dice_cost')
DEFAULT_COSTS = {
    'HungarianAssigner': dict(
        cls_cost=dict(type='ClassificationCost', weight=1.0),
        reg_cost=dict(type='BBoxL1Cost', weight=1.0),
        iou_cost=dict(type='IoUCost', iou_mode='giou', weight=1.0),
    ),
    'MaskHungarianAssigner': dict(
        cls_cost=dict(type='ClassificationCost', weight=1.0),
        mask_cost=dict(type='FocalLossCost', weight=1.0, binary_input=True),
        dice_cost=dict(type='DiceCost', weight=1.0),
    ),
}
DEFAULT_FFN = dict(num_fcs=2, ffn_drop=0.0, act_cfg=dict(type='ReLU', inplace=True))
# arguments of a layer that its feed-forward network takes, with the names that this gives them
FFN_OF_LAYER = {
    'feedforward_channels': 'feedforward_channels',
    'ffn_dropout': 'ffn_drop',
    'ffn_num_fcs': 'num_fcs',
    'act_cfg': 'act_cfg',
}


def translate_assigner(assigner: dict) -> dict:
    """A Hungarian assigner with a list of costs for one argument a cost."""
    kind = assigner['type']
    if kind not in DEFAULT_COSTS or 'match_costs' in assigner:
        return assigner
    costs = {**DEFAULT_COSTS[kind], **{key: assigner[key] for key in COSTS if key in assigner}}
    if 'reg_cost' in costs:
        costs['reg_cost'] = {'box_format': 'xyxy', **costs['reg_cost']}
    kept = {key: value for key, value in assigner.items() if key not in COSTS}
    return {**kept, 'type': 'HungarianAssigner', 'match_costs': list(costs.values())}


def translate_detector(model: dict, report: Report) -> dict:
    """A ``DETR`` or ``DeformableDETR`` with what its head held."""
    head = dict(model['bbox_head'])
    if model.get('type') not in DETECTORS or 'transformer' not in head:
        return model
    transformer = dict(head.pop('transformer'))
    deformable = model['type'] == 'DeformableDETR'
    path = 'model.bbox_head.transformer'
    decoder = _decoder(transformer.pop('decoder'), f'{path}.decoder', report)
    translated = {
        **model,
        'num_queries': head.pop('num_query', 300 if deformable else 100),
        'encoder': coder(transformer.pop('encoder'), f'{path}.encoder', report),
        'decoder': decoder,
        'positional_encoding': _encoding(head.pop('positional_encoding', dict(num_feats=128, normalize=True))),
    }
    channels = head.pop('in_channels', None)
    if deformable:
        decoder['post_norm_cfg'] = None
        translated.update(_of_deformable(model, head, transformer))
    else:
        embed_dims = decoder['layer_cfg']['self_attn_cfg']['embed_dims']
        head['embed_dims'] = embed_dims
        translated.setdefault('neck', _projection(channels, embed_dims))
    for idle in ('type', 'init_cfg'):
        transformer.pop(idle, None)
    report.refuse_rest(transformer, path, 'the transformer')
    return {**translated, 'bbox_head': head}


def _of_deformable(model: dict, head: dict, transformer: dict) -> dict:
    """What the detector takes over from the head and the transformer."""
    levels = transformer.pop('num_feature_levels', (model.get('neck') or {}).get('num_outs', 4))
    two_stage = head.pop('as_two_stage', False)
    proposals = transformer.pop('two_stage_num_proposals', None)
    transformer.pop('as_two_stage', None)  # the head hands it on
    return dict(
        num_feature_levels=levels,
        with_box_refine=head.pop('with_box_refine', False),
        as_two_stage=two_stage,
        **({} if proposals is None or not two_stage else dict(num_queries=proposals)),
    )


def _projection(channels: int, embed_dims: int) -> dict:
    """The convolution that 2.x has in the head of DETR."""
    return dict(
        type='ChannelMapper',
        in_channels=[channels],
        kernel_size=1,
        out_channels=embed_dims,
        act_cfg=None,
        norm_cfg=None,
        num_outs=1,
    )


def translate_panoptic_head(head: dict, report: Report) -> dict:
    """The head of MaskFormer or Mask2Former with its decoders in 3.x's words."""
    head = dict(head)
    path = 'model.panoptic_head'
    if 'transformer_decoder' in head:
        head['transformer_decoder'] = _decoder(head['transformer_decoder'], f'{path}.transformer_decoder', report)
    if 'positional_encoding' in head:
        head['positional_encoding'] = _encoding(head['positional_encoding'])
    pixels = dict(head.get('pixel_decoder') or {})
    if 'encoder' in pixels:
        pixels['encoder'] = coder(pixels['encoder'], f'{path}.pixel_decoder.encoder', report)
    if 'positional_encoding' in pixels:
        pixels['positional_encoding'] = _encoding(pixels['positional_encoding'])
    return {**head, 'pixel_decoder': pixels} if pixels else head


def _encoding(encoding: dict) -> dict:
    return {key: value for key, value in encoding.items() if (key, value) != ('type', 'SinePositionalEncoding')}


def _decoder(decoder: dict, path: str, report: Report) -> dict:
    return {'return_intermediate': False, **coder(decoder, path, report)}


def coder(config: dict, path: str, report: Report) -> dict:
    """An encoder or decoder: its number of layers, and what all of them are."""
    if 'transformerlayers' not in config:
        return config
    rest = {key: value for key, value in config.items() if key != 'type'}
    layers = rest.pop('transformerlayers')
    if is_sequence(layers):
        if any(layer != layers[0] for layer in layers):
            report.refuse(f'{path}.transformerlayers', layers, 'all layers of a coder are the same now')
        layers = layers[0]
    return {**without_none(rest), 'layer_cfg': _layer(dict(layers), f'{path}.transformerlayers', report)}


def _layer(layer: dict, path: str, report: Report) -> dict:
    """One layer: attentions by what they look at, and a feed-forward network."""
    order = layer.pop('operation_order', None) or ()
    kinds = [name for name in order if name.endswith('attn')]
    given = layer.pop('attn_cfgs')
    each = list(given) if is_sequence(given) else [given] * len(kinds)
    attentions = {f'{kind}_cfg': _attention(dict(cfg)) for kind, cfg in zip(kinds, each)}
    dims = next(iter(attentions.values())).get('embed_dims', 256)
    translated = {**attentions, 'ffn_cfg': _feed_forward(layer, dims)}
    if layer.get('norm_cfg') not in (None, dict(type='LN')):
        translated['norm_cfg'] = layer['norm_cfg']
    if order and order[0] == 'norm':
        report.refuse(f'{path}.operation_order', order, 'layers that normalize first are not there')
    for known in ('type', 'norm_cfg', 'init_cfg', 'batch_first'):
        layer.pop(known, None)
    report.refuse_rest(layer, path, 'a layer')
    return translated


def _attention(attention: dict) -> dict:
    """Arguments of an attention; those that were None there are the defaults here."""
    attention.pop('type', None)
    dropped = attention.pop('attn_drop', None)
    projected = attention.pop('proj_drop', None)
    if dropped is not None or projected is not None:
        # what ``dropout`` drops after the projection is what ``proj_drop`` does
        attention['dropout'] = max(dropped or 0.0, projected or 0.0)
    if attention.get('im2col_step') == 64:
        del attention['im2col_step']  # as is the default
    return {**without_none(attention), 'batch_first': True}


def _feed_forward(layer: dict, dims: int) -> dict:
    """Arguments of the feed-forward network, given on their own or, in earlier versions, to the layer."""
    given = dict(layer.pop('ffn_cfgs', None) or {})
    for kind in ('type', 'add_identity', 'dropout_layer'):
        given.pop(kind, None)
    outer = {name: layer.pop(key) for key, name in FFN_OF_LAYER.items() if key in layer}
    return {'embed_dims': dims, 'feedforward_channels': 1024, **DEFAULT_FFN, **outer, **given}
