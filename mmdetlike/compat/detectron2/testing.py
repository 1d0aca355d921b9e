"""What a Detectron2 config asks of tests beyond a model's predictions: augmentation, and results that are expected."""

from collections.abc import Mapping, Sequence

from .common import suppression
from .data import META_KEYS, evaluator

# whose predictions are objects, which is what versions of a picture are joined by
AUGMENTED = ('GeneralizedRCNN', 'RetinaNet')
# their sizes and thresholds -> how our scores of COCO end
COCO_ENDS = {'AP': 'mAP', 'AP50': 'mAP_50', 'AP75': 'mAP_75', 'APs': 'mAP_s', 'APm': 'mAP_m', 'APl': 'mAP_l'}
# the scores of these metrics are percentages in both, those of others fractions here
IN_PERCENT = ('CocoPanopticMetric', 'SemSegMetric')


def tta_settings(cfg: Mapping) -> dict:
    """``tta_model`` and ``tta_pipeline`` of ``TEST.AUG``; empty where it is off, or has no counterpart here.

    Detectron2 tests once more with them, ``mmdetlike test --tta`` in place of the plain test.
    """
    augmentation = cfg['TEST']['AUG']
    if not augmentation['ENABLED'] or cfg['MODEL']['META_ARCHITECTURE'] not in AUGMENTED:
        return {}
    tta_cfg = dict(nms=_joining(cfg['MODEL']), max_per_img=cfg['TEST']['DETECTIONS_PER_IMAGE'])
    sizes = [(augmentation['MAX_SIZE'], side) for side in augmentation['MIN_SIZES']]
    resizes = [dict(type='Resize', scale=size, keep_ratio=True) for size in sizes]
    flips = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
    pack = dict(type='PackDetInputs', meta_keys=(*META_KEYS, 'flip', 'flip_direction'))
    versions = [resizes, flips if augmentation['FLIP'] else flips[:1], [pack]]
    return dict(
        tta_model=dict(type='DetTTAModel', tta_cfg=tta_cfg),
        tta_pipeline=[dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=versions)],
    )


def _joining(model: Mapping) -> dict:
    """By what duplicates of several versions are suppressed: as those of one."""
    is_retina = model['META_ARCHITECTURE'] == 'RetinaNet'
    return suppression(model, model['RETINANET' if is_retina else 'ROI_HEADS']['NMS_THRESH_TEST'])


def expected_scores(cfg: Mapping) -> list[tuple[str, float, float]]:
    """(score, value, tolerance), as we name and scale them, of the rows of ``TEST.EXPECTED_RESULTS`` that are known."""
    found = [_expected(row, _metrics(cfg)) for row in cfg['TEST']['EXPECTED_RESULTS']]
    return [row for row in found if row is not None]


def unknown_results(cfg: Mapping) -> list[Sequence]:
    """The rows of ``TEST.EXPECTED_RESULTS`` that are not known here."""
    return [row for row in cfg['TEST']['EXPECTED_RESULTS'] if _expected(row, _metrics(cfg)) is None]


def _metrics(cfg: Mapping) -> list[dict]:
    metrics = evaluator(cfg)
    return metrics if isinstance(metrics, list) else [metrics]


def _expected(row: Sequence, metrics: Sequence[Mapping]) -> tuple[str, float, float] | None:
    """Our form of (task, score, value, tolerance); None where no metric gives that score."""
    task, score, value, tolerance = row
    for metric in metrics:
        name = _score_name(metric, task, score)
        if name is not None:
            unit = 1 if metric['type'] in IN_PERCENT else 100
            return name, value / unit, tolerance / unit
    return None


def _score_name(metric: Mapping, task: str, score: str) -> str | None:
    """What a metric calls the score of a task; None where it doesn't give it."""
    kind = metric['type']
    of_whole_pictures = {
        'CocoPanopticMetric': ('panoptic_seg', 'coco_panoptic'),
        'SemSegMetric': ('sem_seg', 'sem_seg'),
    }
    if kind in of_whole_pictures:
        expected, prefix = of_whole_pictures[kind]
        return f'{prefix}/{score}' if task == expected else None
    if kind == 'VOCMetric':
        return 'pascal_voc/AP50' if (task, score) == ('bbox', 'AP50') else None
    tasks = [metric['metric']] if isinstance(metric['metric'], str) else metric['metric']
    prefix = {'CocoMetric': 'coco', 'LVISMetric': 'lvis'}[kind]
    if (task, tasks) == ('box_proposals', ['proposal_fast']):
        return f'{prefix}/{score}' if score.startswith('AR@') else None
    if task not in tasks:
        return None
    if kind == 'LVISMetric':
        return f'{prefix}/{task}_{score}' if score.startswith('AP') else None
    return f'{prefix}/{task}_{COCO_ENDS[score]}' if score in COCO_ENDS else None
