"""The model: what the detector, its parts and its preprocessor are called in 3.x."""

from mmdetlike.utils.published import look_up

from .pipeline import Pipeline
from .queries import translate_assigner, translate_detector, translate_panoptic_head
from .report import Report, is_sequence

# parts that compute the same, with others' kernels or in other libraries
SAME = {
    'AscendMaxIoUAssigner': 'MaxIoUAssigner',
    'AscendRetinaHead': 'RetinaHead',
    'AscendSSDHead': 'SSDHead',
    'AscendAnchorHead': 'AnchorHead',
    'MMSyncBN': 'SyncBN',
    'MMBN': 'BN',
    'mmcls.TIMMBackbone': 'TIMMBackbone',
}
RENAMED = {
    'CTResNetNeck': {'in_channel': 'in_channels'},
    'CenterNetHead': {'in_channel': 'in_channels', 'feat_channel': 'feat_channels'},
}
# arguments of suppression in early 2.x
OLD_NMS = {'iou_thr': 'iou_threshold'}
# heads whose losses are of all their anchors, which configs of 3.x say by a sampler
UNSAMPLED = (
    *('RetinaHead', 'RetinaSepBNHead', 'FreeAnchorRetinaHead', 'GARetinaHead', 'PISARetinaHead', 'SABLRetinaHead'),
    *('FSAFHead', 'SSDHead', 'PISASSDHead', 'YOLACTHead'),
)
# what configs of FCOS say about an assigner, which its head doesn't have
OF_ASSIGNER = ('assigner', 'allowed_border', 'pos_weight', 'debug')
# what the detector of panoptic segmentation looks up for its boxes
OF_REGIONS = ('score_thr', 'nms', 'max_per_img', 'mask_thr_binary')
SIZE_STEP = 32  # YOLOX counts its sizes in these


def translate_model(model: dict, report: Report) -> dict:
    """A model without its preprocessor.

    Args:
        model: As 2.x has it, with ``train_cfg`` and ``test_cfg``.
        report: Told what can't be translated.
    """
    model = _each_part(model)
    if isinstance(model.get('bbox_head'), dict):
        model = translate_detector(model, report)
    if isinstance(model.get('panoptic_head'), dict):
        model['panoptic_head'] = translate_panoptic_head(model['panoptic_head'], report)
    if model.get('type') == 'YOLACT' and 'segm_head' in model:
        model = _yolact(model, report)
    if model.get('type') in ('PanopticFPN', 'TwoStagePanopticSegmentor'):
        model = _panoptic(model)
    if model.get('type') == 'FCOS':
        model['train_cfg'] = _without_assigner(model.get('train_cfg'), report)
    if 'teacher_config' in model:
        model['teacher_config'] = _today(model['teacher_config'])
    return _pretrained(_sampled(model))


def _each_part(part):
    """A copy of a part with the names of 3.x in it and in all that it holds."""
    if is_sequence(part):
        return [_each_part(each) for each in part] if isinstance(part, list) else tuple(map(_each_part, part))
    if not isinstance(part, dict):
        return part
    kind = part.get('type')
    kind = SAME.get(kind, kind) if isinstance(kind, str) else kind
    names = RENAMED.get(kind, {}) if isinstance(kind, str) else {}
    if kind in ('nms', 'soft_nms'):
        names = OLD_NMS
    translated = {names.get(key, key): _each_part(value) for key, value in part.items()}
    if kind is None:
        return _nms(translated)
    translated['type'] = f'mmpretrain.{kind[6:]}' if str(kind).startswith('mmcls.') else kind
    return translate_assigner(translated) if str(kind).endswith('HungarianAssigner') else translated


def _nms(settings: dict) -> dict:
    """Settings of proposals, whose suppression was one number in early 2.x."""
    if 'nms_thr' not in settings:
        return settings
    kept = {key: value for key, value in settings.items() if key not in ('nms_thr', 'max_num', 'nms_post')}
    if 'max_num' in settings:
        kept.setdefault('max_per_img', settings['max_num'])
    kept.pop('nms_across_levels', None)
    kept.setdefault('nms', dict(type='nms', iou_threshold=settings['nms_thr']))
    return kept


def _today(config):
    """The path of a config of OpenMMLab's, which 2.x calls otherwise; another one stays as it is."""
    entry = look_up(config) if isinstance(config, str) else None
    return config if entry is None else f'configs/{entry.config}'


def _without_assigner(settings: dict | None, report: Report) -> dict | None:
    if not settings or 'assigner' not in settings:
        return settings
    report.note('model.train_cfg.assigner', 'the head assigns by regress_ranges, in 2.x too; this is left out')
    return {key: value for key, value in settings.items() if key not in OF_ASSIGNER} or None


def _sampled(model: dict) -> dict:
    """A model that says that its head learns from all anchors."""
    settings = model.get('train_cfg')
    head = model.get('bbox_head')
    if (
        isinstance(head, dict)
        and head.get('type') in UNSAMPLED
        and isinstance(settings, dict)
        and 'assigner' in settings
    ):
        model['train_cfg'] = {'sampler': dict(type='PseudoSampler'), **settings}
    return model


def _panoptic(model: dict) -> dict:
    """A panoptic detector whose boxes are selected by what ``test_cfg.panoptic`` says, as in 2.x."""
    settings = dict(model.get('test_cfg') or {})
    fusion = dict(settings.get('panoptic') or {})
    selection = {key: fusion.pop(key) for key in OF_REGIONS if key in fusion}
    if selection:
        settings.update(panoptic=fusion, rcnn={**settings.get('rcnn', {}), **selection})
        model['test_cfg'] = settings
    return model


def _yolact(model: dict, report: Report) -> dict:
    """YOLACT with its semantic head within that of masks."""
    segmentation = dict(model.pop('segm_head'))
    masks = {**model['mask_head'], 'with_seg_branch': True}
    if 'loss_segm' in segmentation:
        masks['loss_segm'] = segmentation.pop('loss_segm')
    for known in ('type', 'num_classes', 'in_channels', 'init_cfg'):  # as those of ``mask_head``
        segmentation.pop(known, None)
    report.refuse_rest(segmentation, 'model.segm_head', 'YOLACTSegmHead')
    model['mask_head'] = masks
    if model.get('test_cfg') is not None:
        # masks were cut at one half
        model['test_cfg'] = {**model['test_cfg'], 'mask_thr': 0.5, 'mask_thr_binary': 0.5}
    return model


def _pretrained(model: dict) -> dict:
    """A model whose backbone says where its weights come from."""
    source = model.pop('pretrained', None)
    if source is not None:
        weights = dict(type='Pretrained', checkpoint=source)
        model['backbone'] = {'init_cfg': weights, **model['backbone']}
        model['backbone'].pop('pretrained', None)
    return model


# -- what the pipelines did before the model --------------------------------------------------------------------------


def preprocessor(model: dict, pipelines: dict[str, list[Pipeline]], report: Report) -> dict:
    """The ``data_preprocessor`` of a model that doesn't have one; ``model`` loses what has become part of it.

    Args:
        model: The translated model.
        pipelines: What the pipelines of training, validation and test asked for.
        report: Told where these ask for different things.
    """
    made = dict(type='DetDataPreprocessor')
    training = pipelines['train']
    testing = [*pipelines['test'], *pipelines['val']]
    every = [*training, *testing]
    normalize = _agreed([each.normalize for each in every], 'Normalize', report)
    if normalize is not None:
        made.update(mean=normalize['mean'], std=normalize['std'], bgr_to_rgb=normalize.get('to_rgb', True))
    keys = [key for each in training for key in each.keys]
    if 'gt_masks' in keys:
        made['pad_mask'] = True
    if 'gt_semantic_seg' in keys:
        made.update(pad_seg=True, seg_pad_value=255)
    divisor = _agreed([each.size_divisor for each in every], 'Pad.size_divisor', report)
    if divisor is not None:
        made['pad_size_divisor'] = divisor
    value = _agreed([each.pad_value for each in every], 'Pad.pad_val', report)
    if value is not None:
        made['pad_value'] = value
    augments = [*_batch_pads(training, keys), *_batch_sizes(model)]
    if augments:
        made['batch_augments'] = augments
    if model.get('type') == 'YOLOX':
        made.setdefault('pad_size_divisor', SIZE_STEP)
    return made


def _agreed(values: list, what: str, report: Report):
    """The one value that pipelines give, or the first one."""
    given = [value for value in values if value is not None]
    if any(value != given[0] for value in given):
        report.note('data', f'pipelines differ in {what}; data_preprocessor takes that of the training: {given[0]}')
    return given[0] if given else None


def _batch_pads(training: list[Pipeline], keys: list[str]) -> list[dict]:
    for pipeline in training:
        if pipeline.batch_pad is not None:
            masks = dict(pad_mask=True, mask_pad_value=0) if 'gt_masks' in keys else dict(pad_mask=False)
            segments = dict(pad_seg=True, seg_pad_value=255) if 'gt_semantic_seg' in keys else dict(pad_seg=False)
            return [{**masks, **segments, **pipeline.batch_pad}]
    return []


def _batch_sizes(model: dict) -> list[dict]:
    """The sizes that YOLOX draws for its batches."""
    if model.get('type') != 'YOLOX':
        return []
    lowest, highest = model.pop('random_size_range', (15, 25))
    interval = model.pop('random_size_interval', 10)
    model.pop('input_size', None)  # that of the pipelines
    sizes = (lowest * SIZE_STEP, highest * SIZE_STEP)
    return [dict(type='BatchSyncRandomResize', random_size_range=sizes, size_divisor=SIZE_STEP, interval=interval)]
