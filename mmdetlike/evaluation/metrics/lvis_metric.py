"""The average precision of LVIS as a metric."""

from collections.abc import Sequence

from ...errors import ConfigError
from ...registry import METRICS
from ..functional.lvis_eval import MAX_DETECTIONS, LvisScores
from .coco_metric import CocoMetric
from .lvis_truth import LvisTruth
from .tables import log_table

_AREAS = {'s': 'small', 'm': 'medium', 'l': 'large'}
_PRECISIONS = ['AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf']
_RECALLS = [f'AR{size}@{MAX_DETECTIONS}' for size in ('', *_AREAS)]


@METRICS.register_module()
class LVISMetric(CocoMetric):
    """Average precision of boxes or masks on LVIS (arXiv:1908.03195), v0.5 and v1.

    Gives ``lvis/bbox_AP`` (mean over classes and IoU 0.50:0.95), ``lvis/bbox_AP50``, ``AP75``, ``APs``, ``APm`` and
    ``APl`` for objects below 32², 96² and above 96² pixels, and ``APr``, ``APc``, ``APf`` for rare, common and frequent
    classes; likewise for ``segm``. A value is -1 where there is no ground truth. The best 300 detections of an image
    count, of classes that the image was annotated for. Metric ``proposal`` gives ``AR@300``, ``ARs@300`` and so on.

    Args:
        ann_file: Annotation file of LVIS.
        metric: One or several of 'bbox', 'segm', 'proposal', 'proposal_fast'.
        metric_items: What to report, of the names above.
    """

    default_prefix = 'lvis'
    metric_names = ('bbox', 'segm', 'proposal', 'proposal_fast')
    truth_type = LvisTruth

    def __init__(self, ann_file: str | None = None, metric: str | Sequence[str] = 'bbox', **kwargs) -> None:
        if not ann_file:
            raise ConfigError(
                'LVISMetric has no ann_file: only the annotation file says which classes an image was annotated for.'
            )
        super().__init__(ann_file, metric, **kwargs)

    def items(self, metric: str) -> Sequence[str]:
        """Scores to report of ``metric``, in their order; an unknown one of ``metric_items`` is a ConfigError."""
        if metric == 'proposal_fast':
            return [f'AR@{number}' for number in self.proposal_nums]
        known = _RECALLS if metric == 'proposal' else _PRECISIONS
        unknown = sorted(set(self.metric_items or ()) - {*_PRECISIONS, *_RECALLS})
        if unknown:
            raise ConfigError(f'metric_items {unknown} are not among {known} of {metric}.')
        return self.metric_items or known

    def evaluate_metric(
        self, metric: str, images: list[dict], categories: list[dict], rows: tuple[list[dict], list[dict]]
    ) -> dict[str, float]:
        """Scores of one metric by name; see ``CocoMetric.evaluate_metric``."""
        if metric == 'proposal_fast':
            return self.fast_recall(images, *rows)
        found, truth = rows
        if metric == 'proposal':
            images, categories, truth, found = _as_one_class(images, categories, truth, found)
        else:
            images = _with_ids(images, categories)
        scores = LvisScores(
            images,
            categories,
            truth,
            found,
            kind='bbox' if metric == 'proposal' else metric,
            iou_thrs=self.iou_thrs,
            max_detections=self.max_detections or MAX_DETECTIONS,
        )
        values = {name: _value(scores, name) for name in self.items(metric)}
        log_table(f'LVIS {metric}', ['metric', 'value'], [[name, value] for name, value in values.items()])
        named = {f'{self.prefix_of(metric)}{name}': value for name, value in values.items()}
        if not self.classwise or metric == 'proposal':
            return named
        pairs = [(row['name'], value) for row, value in zip(categories, scores.class_precisions().tolist())]
        log_table(f'LVIS {metric} of each class', ['category', 'AP'], pairs)
        return named | {self.class_score(metric, n): value if value >= 0 else float('nan') for n, value in pairs}


def _with_ids(images: list[dict], categories: list[dict]) -> list[dict]:
    """Images with the ids, not the names, of categories that are evaluated."""
    id_of = {category['name']: category['id'] for category in categories}
    rows = []
    for image in images:
        negative, partly = ([id_of[name] for name in image[key] if name in id_of] for key in _LISTS)
        rows.append({**image, 'neg_category_ids': negative, 'not_exhaustive_category_ids': partly})
    return rows


def _as_one_class(images: list[dict], categories: list[dict], *tables: list[dict]) -> tuple[list[dict], ...]:
    """Everything in one class, of which all instances are marked: the class of a proposal means nothing."""
    images = [{**image, 'neg_category_ids': [], 'not_exhaustive_category_ids': []} for image in images]
    only = categories[0]
    # An image without ground truth counts for nothing, as recall has no use for false positives.
    return images, [only], *([{**row, 'category_id': only['id']} for row in rows] for rows in tables)


_LISTS = ('negative', 'not_exhaustive')


def _value(scores: LvisScores, name: str) -> float:
    """The score that ``name`` stands for, as 'AP50', 'APs', 'APr' or 'ARs@300'."""
    part = name.partition('@')[0][2:]
    area = _AREAS.get(part, 'all')
    if name.startswith('AR'):
        return scores.recall(area)
    if part.isdigit():
        return scores.precision(iou=int(part) / 100)
    return scores.precision(area=area, frequency=part if part in ('r', 'c', 'f') else None)
