"""``evaluation`` of 2.x: evaluators, and when to validate."""

from .data import leaves
from .report import Report, is_sequence

COCO = ('CocoDataset', 'DeepFashionDataset', 'CityscapesDataset', 'Objects365V1Dataset', 'Objects365V2Dataset')
LVIS = ('LVISDataset', 'LVISV05Dataset', 'LVISV1Dataset')
COCO_ARGUMENTS = ('classwise', 'proposal_nums', 'iou_thrs', 'metric_items')
# of mmcv's hook, for which nothing is to be done any more
IDLE = ('tmpdir', 'gpu_collect', 'by_epoch', 'out_dir', 'less_keys', 'greater_keys', 'logger')


def translate_evaluation(evaluation: dict, data: dict, loaders: dict, report: Report) -> tuple[dict, dict, dict]:
    """Translate ``evaluation``.

    Args:
        evaluation: As 2.x has it.
        data: ``data`` of 2.x.
        loaders: Dataloaders of 3.x by ``train``, ``val`` and ``test``.
        report: Told what can't be translated.

    Returns:
        ``val_evaluator`` and ``test_evaluator``, arguments of ``train_cfg``, arguments of the ``CheckpointHook``.
    """
    rest = dict(evaluation)
    metric = rest.pop('metric', None)
    arguments = {key: rest.pop(key) for key in (*COCO_ARGUMENTS, 'iou_thr', 'scale_ranges') if key in rest}
    evaluators = {}
    for kind in ('val', 'test'):
        if kind in loaders:
            given = data[kind] if isinstance(data[kind], dict) else {}
            evaluators[f'{kind}_evaluator'] = _evaluators(loaders[kind]['dataset'], metric, arguments, given, report)
    schedule = dict(val_interval=rest.pop('interval', 1))
    if rest.get('dynamic_intervals') is not None:
        schedule['dynamic_intervals'] = rest['dynamic_intervals']
    if rest.get('start') is not None:
        schedule['val_begin'] = rest['start']
    saving = {key: rest.pop(key) for key in ('save_best', 'rule') if rest.get(key) is not None}
    if isinstance(saving.get('save_best'), str) and saving['save_best'] != 'auto':
        saving['save_best'] = _score_name(saving['save_best'], evaluators)
    for key in (*IDLE, 'dynamic_intervals', 'start', 'save_best', 'rule'):
        rest.pop(key, None)
    if rest.pop('jsonfile_prefix', None) is not None:
        report.note('evaluation.jsonfile_prefix', 'outfile_prefix of val_evaluator writes such files')
    report.refuse_rest(rest, 'evaluation', 'evaluation')
    return evaluators, schedule, saving


def _score_name(name: str, evaluators: dict) -> str:
    """A score by its name in 3.x, which begins with that of its benchmark."""
    evaluator = next(iter(evaluators.values()), {})
    if isinstance(evaluator, dict) and evaluator['type'] == 'MultiDatasetsEvaluator':
        number, _, name = name.partition('_')  # '0_bbox_mAP' of the first test set
        return f'{number}/{_score_name(name, dict(of_one_set=evaluator["metrics"][0]))}'
    first = evaluator[0] if is_sequence(evaluator) else evaluator
    prefix = dict(VOCMetric='pascal_voc', CocoPanopticMetric='coco_panoptic', LVISMetric='lvis').get(
        first.get('type'), 'coco'
    )
    return f'{prefix}/{name}'


def _evaluators(dataset: dict, metric, arguments: dict, given: dict, report: Report):
    """The metrics of a test set; of several those of each, unless 2.x was told to score them together.

    Args:
        dataset: As 3.x has it.
        metric, arguments: Of ``evaluation``.
        given: The dataset as 2.x has it; empty for a list.
        report: Told what can't be translated.
    """
    instances = given.get('ins_ann_file')
    parts = dataset.get('datasets', []) if dataset['type'] == 'ConcatDataset' else []
    if len(parts) < 2 or given.get('separate_eval', True) is False:
        return _evaluator(dataset, metric, arguments, instances, report)
    metrics = [_evaluator(part, metric, arguments, instances, report) for part in parts]
    prefixes = [str(number) for number in range(len(parts))]  # as 2.x named their scores
    return dict(type='MultiDatasetsEvaluator', metrics=metrics, dataset_prefixes=prefixes)


def _evaluator(dataset: dict, metric, arguments: dict, instances: str | None, report: Report):
    """The metric of a test set, or several."""
    parts = list(leaves(dataset))
    leaf = parts[0]
    name = str(leaf['type']).rpartition('.')[2]
    files = [_joined(part, part['ann_file']) for part in parts if part.get('ann_file')]
    if len(files) > 1 and name not in ('VOCDataset', 'XMLDataset'):
        report.note(
            'data', f'{len(files)} test sets are scored together; their metric reads the objects that are loaded'
        )
    file = files[0] if len(files) == 1 else None
    if 'Panoptic' in name:
        return _panoptic(leaf, file, metric, arguments, instances)
    # what only the metric of VOC is called, which 2.x had for all datasets but those of COCO
    of_voc = metric[0] if is_sequence(metric) and metric else metric
    if name in ('VOCDataset', 'XMLDataset', 'WIDERFaceDataset') or (name not in COCO and of_voc in ('mAP', 'recall')):
        return _voc(leaf, metric, arguments)
    if name.startswith('OpenImages'):
        return dict(type='OpenImagesMetric')
    kind = 'LVISMetric' if name in LVIS else 'CocoMetric'
    if name not in (*COCO, *LVIS):
        report.note('evaluation', f'CocoMetric scores {name}; name another metric in val_evaluator if that is wrong')
    known = {key: value for key, value in arguments.items() if key in COCO_ARGUMENTS}
    given = {} if metric is None else dict(metric=metric)
    return dict(type=kind, **({} if file is None else dict(ann_file=file)), **given, format_only=False, **known)


def _panoptic(leaf: dict, file: str | None, metric, arguments: dict, instances: str | None):
    metrics = [metric] if isinstance(metric, str) else list(metric or ['PQ'])
    folder = _joined(leaf, leaf['data_prefix'].get('seg'))
    known = {'classwise': arguments['classwise']} if 'classwise' in arguments else {}
    panoptic = dict(type='CocoPanopticMetric', ann_file=file, seg_prefix=folder, **known)
    others = [name for name in metrics if name != 'PQ']
    if not others:
        return panoptic
    return [panoptic, dict(type='CocoMetric', ann_file=instances, metric=others)]


def _voc(leaf: dict, metric, arguments: dict) -> dict:
    name = metric[0] if is_sequence(metric) else metric
    folder = str(leaf.get('data_prefix', {}).get('sub_data_root', '')) + str(leaf.get('ann_file', ''))
    mode = '11points' if 'VOC2007' in folder else 'area'
    kept = {key: value for key, value in arguments.items() if key in ('scale_ranges', 'proposal_nums')}
    if 'iou_thr' in arguments:
        kept['iou_thrs'] = arguments['iou_thr']
    return dict(type='VOCMetric', **({} if name is None else dict(metric=name)), eval_mode=mode, **kept)


def _joined(leaf: dict, path: str | None) -> str | None:
    root = leaf.get('data_root')
    if not root or not path or path.startswith('/') or '://' in path:
        return path
    return f'{root.rstrip("/")}/{path}'
