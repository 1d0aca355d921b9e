"""Average precision and recall as COCO defines them."""

from collections.abc import Sequence

import numpy as np
from faster_coco_eval.core import mask as rle
from mmengine.evaluator import BaseMetric
from mmengine.fileio import dump

from ...datasets.annotations import match_classes, read_json
from ...datasets.errors import DataError, warn
from ...registry import METRICS
from ..functional.coco_eval import CocoScores, coco_index, keypoint_sigmas
from ..functional.recall import eval_recalls
from .convert import detections, mask_row, prediction_of, truth_annotations, truth_of
from .tables import log_table

METRIC_NAMES = ('bbox', 'segm', 'keypoints', 'proposal', 'proposal_fast')
_AREAS = {'s': 'small', 'm': 'medium', 'l': 'large'}


@METRICS.register_module()
class CocoMetric(BaseMetric):
    """Average precision and recall of boxes, masks, keypoints or proposals (arXiv:1405.0312).

    Gives ``coco/bbox_mAP`` (mean over classes and IoU 0.50:0.95), ``coco/bbox_mAP_50``, ``_75``, and ``_s``, ``_m``,
    ``_l`` for objects below 32², 96² and above 96² pixels; likewise for ``segm`` and ``keypoints``. A value is -1 where
    there is no ground truth. Metric ``proposal`` gives ``AR@100`` and so on, regardless of classes; ``proposal_fast``
    the same by box recall alone.

    Args:
        ann_file: Annotation file in COCO's format. If None, the ground truth is what the samples carry as ``instances``
            (list it in ``PackDetInputs(meta_keys=...)``).
        metric: One or several of 'bbox', 'segm', 'keypoints', 'proposal', 'proposal_fast'.
        classwise: Report ``coco/{class}_precision`` too, of metrics after the first ``coco/segm_{class}_precision``.
        proposal_nums: Numbers of detections in an image that recall is reported for.
        iou_thrs: IoU thresholds to average over; 0.5 to 0.95 in steps of 0.05 if None.
        metric_items: What to report, of 'mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l', 'AR@100' and the other
            ``proposal_nums``, 'AR_s@1000', 'AR_m@1000', 'AR_l@1000'.
        format_only: Only write the predictions to ``outfile_prefix``, for a test server.
        outfile_prefix: Write predictions to ``{outfile_prefix}.bbox.json`` and so on.
        backend_args: Where ``ann_file`` is read from, as for ``mmengine.fileio.get``.
        collect_device: 'cpu' or 'gpu': where the results of several processes are put together.
        prefix: First part of the result names, 'coco' if None.
    """

    default_prefix = 'coco'

    def __init__(
        self,
        ann_file: str | None = None,
        metric: str | Sequence[str] = 'bbox',
        classwise: bool = False,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        iou_thrs: float | Sequence[float] | None = None,
        metric_items: Sequence[str] | None = None,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metrics = [metric] if isinstance(metric, str) else list(metric)
        for name in self.metrics:
            if name not in METRIC_NAMES:
                raise KeyError(f'metric should be one of {", ".join(METRIC_NAMES)}, got {name!r}.')
        if format_only and outfile_prefix is None:
            raise ValueError('format_only writes predictions to a file: set outfile_prefix.')
        self.classwise = classwise
        self.proposal_nums = list(proposal_nums)
        self.iou_thrs = [iou_thrs] if isinstance(iou_thrs, float) else iou_thrs
        self.metric_items = metric_items
        self.format_only = format_only
        self.outfile_prefix = outfile_prefix
        self.ann_file = ann_file
        self._annotations = read_json(ann_file, backend_args) if ann_file else None

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Keep what is scored of ``data_samples`` (``DetDataSample.to_dict()``): ``pred_instances`` and ``img_id``."""
        for sample in data_samples:
            truth = truth_of(sample) if self._annotations is None and not self.format_only else None
            self.results.append((truth, prediction_of(sample)))

    def compute_metrics(self, results: list[tuple[dict | None, dict]]) -> dict[str, float]:
        """Scores of everything that ``process`` kept."""
        predictions = [prediction for _, prediction in results]
        self._check_labels(predictions)
        categories, category_ids = self._categories()
        found = [row for prediction in predictions for row in detections(prediction, category_ids)]
        if self.outfile_prefix is not None:
            self._write(found)
        if self.format_only:
            return {}
        images, truth = self._truth(results)
        images, found, truth = _numbered(images, found, truth)
        if 'segm' in self.metrics:
            truth = _with_checked_masks(truth, images) if self._annotations is not None else truth
            _check_mask_sizes(found, images)
        scores = {}
        for metric in self.metrics:
            rows = _rows_for(metric, found, truth)
            if not rows[0]:
                warn(f'CocoMetric: there is no prediction at all for {metric}, all scores are zero.')
            scores.update(self._evaluate(metric, images, categories, rows))
        return scores

    @property
    def _classes(self) -> Sequence[str]:
        if not self.dataset_meta or 'classes' not in self.dataset_meta:
            raise ValueError("CocoMetric needs dataset_meta['classes']: the evaluator takes it from the dataset.")
        return self.dataset_meta['classes']

    def _check_labels(self, predictions: list[dict]) -> None:
        highest = max((int(p['labels'].max()) for p in predictions if len(p['labels'])), default=-1)
        if highest >= len(self._classes):
            raise ValueError(
                f'Predicted label {highest}, but the dataset has only {len(self._classes)} classes: num_classes of the '
                f'model and metainfo of the dataset disagree.'
            )

    def _categories(self) -> tuple[list[dict], list[int | None]]:
        """Categories to evaluate, and the category id of each label."""
        if self._annotations is None:
            categories = [{'id': label, 'name': name} for label, name in enumerate(self._classes)]
            return categories, list(range(len(categories)))
        available = {category['name']: category for category in self._annotations['categories']}
        matched = match_classes(self._classes, list(available), self.ann_file)
        ids = [available[name]['id'] if name in matched else None for name in self._classes]
        return [{'id': available[name]['id'], 'name': name} for name in matched], ids

    def _truth(self, results: list[tuple[dict | None, dict]]) -> tuple[list[dict], list[dict]]:
        """Images that were predicted and the annotations of them."""
        if self._annotations is None:
            truths = {truth['img_id']: truth for truth, _ in results}.values()
            images = [{'id': t['img_id'], 'height': t['height'], 'width': t['width']} for t in truths]
            return images, [row for truth in truths for row in truth_annotations(truth)]
        seen = {prediction['img_id'] for _, prediction in results}
        images = [image for image in self._annotations['images'] if image['id'] in seen]
        if len(images) < len(seen):
            unknown = sorted(seen - {image['id'] for image in images}, key=str)[:5]
            raise DataError(f'{self.ann_file} has no images with the ids {unknown} that were predicted.')
        if len(images) < len(self._annotations['images']):
            warn(f'{self.ann_file}: scoring the {len(images)} predicted of {len(self._annotations["images"])} images.')
        return images, [row for row in self._annotations['annotations'] if row['image_id'] in seen]

    def _evaluate(
        self, metric: str, images: list[dict], categories: list[dict], rows: tuple[list[dict], list[dict]]
    ) -> dict[str, float]:
        if metric == 'proposal_fast':
            return self._fast_recall(images, *rows)
        known = {category['id'] for category in categories}
        found = rows[0]
        if metric == 'proposal':  # the class of a proposal means nothing
            found = [{**row, 'category_id': categories[0]['id']} for row in found]
        truth = coco_index(images, categories, [row for row in rows[1] if row['category_id'] in known])
        scores = CocoScores(
            truth,
            coco_index(images, categories, found),
            kind='bbox' if metric == 'proposal' else metric,
            max_detections=[] if metric == 'keypoints' else self.proposal_nums,
            iou_thrs=self.iou_thrs,
            class_agnostic=metric == 'proposal',
            sigmas=self._sigmas(rows[1]) if metric == 'keypoints' else None,
        )
        items = self._items(metric)
        values = {name: self._value(scores, name) for name in items}
        prefix = '' if metric == 'proposal' else f'{metric}_'
        log_table(f'{metric}', ['metric', 'value'], [[name, value] for name, value in values.items()])
        named = {f'{prefix}{name}': value for name, value in values.items()}
        return named | (self._classwise(metric, scores, categories) if self.classwise and metric != 'proposal' else {})

    def _items(self, metric: str) -> Sequence[str]:
        most = self.proposal_nums[-1]
        recalls = [f'AR@{n}' for n in self.proposal_nums] + [f'AR_{size}@{most}' for size in _AREAS]
        precisions = ['mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l']
        if metric == 'keypoints':
            precisions.remove('mAP_s')  # COCO has no keypoints on small objects
            recalls = ['AR']
        unknown = set(self.metric_items or ()) - {*recalls, *precisions}
        if unknown:
            raise KeyError(f'metric_items {sorted(unknown)} are not among {[*precisions, *recalls]} of {metric}.')
        return self.metric_items or (recalls if metric == 'proposal' else precisions)

    @staticmethod
    def _value(scores: CocoScores, name: str) -> float:
        """The score that ``name`` stands for, as 'mAP_50', 'mAP_s', 'AR@100' or 'AR_s@1000'."""
        name, _, number = name.partition('@')
        kind, _, part = name.partition('_')
        area = _AREAS.get(part, 'all')
        if kind == 'AR':
            return scores.recall(area=area, max_detections=int(number) if number else None)
        return scores.precision(iou=int(part) / 100 if part.isdigit() else None, area=area)

    def _classwise(self, metric: str, scores: CocoScores, categories: list[dict]) -> dict[str, float]:
        names = ['mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l']
        rows, result = [], {}
        for category in categories:
            one = {'category': category['id']}
            values = [scores.precision(**one), scores.precision(0.5, **one), scores.precision(0.75, **one)]
            if metric == 'keypoints':
                names = names[:3]
            else:
                values += [scores.precision(area=area, **one) for area in _AREAS.values()]
            rows.append([category['name'], *values])
            key = f'{"" if metric == self.metrics[0] else metric + "_"}{category["name"]}_precision'
            result[key] = values[0] if values[0] >= 0 else float('nan')
        log_table(f'{metric} of each class', ['category', *names], rows)
        return result

    def _sigmas(self, truth: list[dict]) -> np.ndarray:
        counts = {len(row['keypoints']) // 3 for row in truth if 'keypoints' in row}
        if len(counts) != 1:
            raise ValueError(f'Keypoint evaluation needs one number of keypoints everywhere, got {sorted(counts)}.')
        return keypoint_sigmas(counts.pop(), self.dataset_meta.get('sigmas'))

    def _fast_recall(self, images: list[dict], found: list[dict], truth: list[dict]) -> dict[str, float]:
        ids = [image['id'] for image in images]
        boxes = _boxes_by_image([row for row in truth if not row.get('iscrowd', 0)], ids)
        thresholds = np.arange(0.5, 0.96, 0.05) if self.iou_thrs is None else np.asarray(self.iou_thrs)
        recalls = eval_recalls(boxes, _boxes_by_image(found, ids), self.proposal_nums, thresholds).mean(1)
        values = {f'AR@{n}': float(value) for n, value in zip(self.proposal_nums, recalls)}
        log_table('proposal_fast', ['metric', 'value'], [[name, value] for name, value in values.items()])
        return values

    def _write(self, found: list[dict]) -> None:
        """Write the predictions in COCO's result format, one file a kind."""
        keep = {'image_id', 'category_id', 'score'}
        for metric in dict.fromkeys(_FILE_KINDS[name] for name in self.metrics):
            rows, _ = _rows_for(metric, found, None)
            extra = {'segm': {'segmentation'}, 'keypoints': {'keypoints'}}.get(metric, {'bbox'})
            rows = [{key: value for key, value in row.items() if key in keep | extra} for row in rows]
            dump(rows, f'{self.outfile_prefix}.{metric}.json')


def _numbered(images: list[dict], *tables: list[dict]) -> tuple[list[dict], ...]:
    """Images and rows with numbers for image ids: COCO's evaluation takes no names, as Pascal VOC has them."""
    numbers = {image['id']: number for number, image in enumerate(images)}
    images = [{**image, 'id': numbers[image['id']]} for image in images]
    return images, *([{**row, 'image_id': numbers[row['image_id']]} for row in rows] for rows in tables)


def _with_checked_masks(truth: list[dict], images: list[dict]) -> list[dict]:
    """``truth`` with run-length encoded masks; a row whose mask cannot be used has none."""
    sizes = {image['id']: (image['height'], image['width']) for image in images}
    rows = []
    for row in truth:
        others = {key: value for key, value in row.items() if key != 'segmentation'}
        mask = mask_row(row.get('segmentation'), *sizes[row['image_id']])
        rows.append({**mask, **others})
    return rows


def _check_mask_sizes(found: list[dict], images: list[dict]) -> None:
    """Predicted masks of another size than their image would overlap with nothing, in silence."""
    sizes = {image['id']: [image['height'], image['width']] for image in images}
    for row in found:
        size = row['segmentation']['size'] if 'segmentation' in row else None
        expected = sizes[row['image_id']]
        if size and size != expected:
            raise DataError(f'Predicted masks are of (h, w) = {size}, but their image of {expected}.')


_FILE_KINDS = {
    'bbox': 'bbox',
    'segm': 'segm',
    'keypoints': 'keypoints',
    'proposal': 'proposal',
    'proposal_fast': 'proposal',
}


def _boxes_by_image(rows: list[dict], image_ids: list) -> list[np.ndarray]:
    """For each image the (n, 4) xyxy boxes of its rows, best first where they have scores."""
    groups: dict = {image_id: [] for image_id in image_ids}
    for row in sorted(rows, key=lambda row: -row.get('score', 0)):
        x, y, width, height = row['bbox']
        groups[row['image_id']].append((x, y, x + width, y + height))
    return [np.array(group, dtype=np.float64).reshape(-1, 4) for group in groups.values()]


def _rows_for(metric: str, found: list[dict], truth: list[dict] | None) -> tuple[list[dict], list[dict] | None]:
    """Detections and ground truth with the fields that ``metric`` is computed from.

    Raises:
        DataError: They lack masks or keypoints.
    """
    field = {'segm': 'segmentation', 'keypoints': 'keypoints'}.get(metric, 'bbox')
    for what, rows in (('predictions', found), ('annotations', truth or [])):
        if rows and not any(field in row for row in rows):
            raise DataError(f'metric {metric!r} needs {field}, which the {what} do not have in a usable form.')
    if not metric.startswith('proposal'):
        found = [row for row in found if row['category_id'] is not None]
    if metric == 'segm':
        return [_mask_row(row) for row in found], [row for row in truth or [] if 'segmentation' in row]
    # The compiled evaluator has no use for other masks, and should not get to see any.
    truth = [{key: value for key, value in row.items() if key != 'segmentation'} for row in truth or []]
    if metric == 'keypoints':
        return [_keypoint_row(row) for row in found], [row for row in truth or [] if 'keypoints' in row]
    return [{**row, 'area': row['bbox'][2] * row['bbox'][3], 'iscrowd': 0} for row in found], truth


def _mask_row(row: dict) -> dict:
    shared = {key: row[key] for key in ('image_id', 'category_id', 'segmentation')}
    area, box = float(rle.area(row['segmentation'])), list(map(float, rle.toBbox(row['segmentation'])))
    return shared | {'score': row['mask_score'], 'area': area, 'bbox': box, 'iscrowd': 0}


def _keypoint_row(row: dict) -> dict:
    points = np.asarray(row['keypoints']).reshape(-1, 3)[:, :2]
    (x1, y1), (x2, y2) = points.min(0).tolist(), points.max(0).tolist()
    shared = {key: row[key] for key in ('image_id', 'category_id', 'keypoints', 'score')}
    return shared | {'bbox': [x1, y1, x2 - x1, y2 - y1], 'area': (x2 - x1) * (y2 - y1), 'iscrowd': 0}
