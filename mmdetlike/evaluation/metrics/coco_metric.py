"""COCO's average precision and recall as a metric."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.fileio import dump

from ...datasets.errors import DataError, warn
from ...datasets.records import same_id
from ...errors import ConfigError
from ...registry import METRICS
from ...utils.collection import without_collector
from ..functional.coco_eval import CocoScores, coco_index, default_detections, keypoint_sigmas
from ..functional.recall import eval_recalls
from .arguments import check_count, check_counts, check_thresholds
from .coco_rows import (
    FIELDS,
    FILE_KINDS,
    boxes_by_image,
    check_mask_sizes,
    check_paths,
    finite_rows,
    numbered,
    rows_for,
)
from .coco_truth import CocoTruth, warn_of_missing_annotations
from .convert import detections, prediction_of, truth_annotations, truth_of
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
        max_detections: Detections of a class in an image that mAP considers, best first; COCO's 100, for keypoints 20,
            if None. A warning says where that is too few.
        keypoint_offset: Subtracted from x and y of predicted keypoints; that of ``LoadAnnotations``.
        sort_categories: Of no effect: categories are found by their names, in whatever order the file has them.
        use_mp_eval: Of no effect: evaluation is compiled and needs no processes of its own.
    """

    default_prefix = 'coco'
    metric_names = METRIC_NAMES
    truth_type = CocoTruth

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
        max_detections: int | None = None,
        keypoint_offset: float = 0.0,
        sort_categories: bool = False,
        use_mp_eval: bool = False,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metrics = [metric] if isinstance(metric, str) else list(metric)
        self.classwise = classwise
        self.proposal_nums = list(proposal_nums)
        self.iou_thrs = [iou_thrs] if isinstance(iou_thrs, (int, float)) else iou_thrs
        self.metric_items = metric_items
        self.format_only = format_only
        self.outfile_prefix = outfile_prefix
        self.ann_file = ann_file
        self.max_detections = max_detections
        self.keypoint_offset = keypoint_offset
        self._check_arguments()
        self._truth = self._read_truth(backend_args) if ann_file else None

    def _check_arguments(self) -> None:
        unknown = [name for name in self.metrics if name not in self.metric_names]
        if unknown or not self.metrics:
            raise ConfigError(
                f'metric should be one of {", ".join(self.metric_names)}, got {(unknown or [None])[0]!r}.'
            )
        if self.format_only and self.outfile_prefix is None:
            raise ConfigError('format_only writes predictions to a file: set outfile_prefix.')
        check_counts('proposal_nums', self.proposal_nums)
        check_thresholds('iou_thrs', self.iou_thrs)
        if self.max_detections is not None:
            check_count('max_detections', self.max_detections)
        for metric in self.metrics:
            self.items(metric)
        if {'proposal', 'proposal_fast'} <= set(self.metrics):
            warn(f'metric={self.metrics}: proposal and proposal_fast share names, the last one is reported.')

    def _read_truth(self, backend_args: dict | None) -> CocoTruth:
        scored = () if self.format_only else self.metrics
        truth = self.truth_type(self.ann_file, backend_args, masks='segm' in scored, keypoints='keypoints' in scored)
        if not truth.has_annotations and not self.format_only:
            warn_of_missing_annotations(self.ann_file)
        return truth

    def score_names(self, classes: Sequence[str]) -> list[str]:
        """Names of the scores, without the prefix, for a dataset of ``classes``."""
        names = [f'{self.prefix_of(metric)}{item}' for metric in self.metrics for item in self.items(metric)]
        if self.classwise:
            rated = [metric for metric in self.metrics if not metric.startswith('proposal')]
            names += [self.class_score(metric, name) for metric in rated for name in classes]
        return names

    @staticmethod
    def prefix_of(metric: str) -> str:
        """What the names of the scores of ``metric`` begin with."""
        return '' if metric.startswith('proposal') else f'{metric}_'

    def class_score(self, metric: str, name: str) -> str:
        """The name of the score that ``metric`` gives a class."""
        return f'{"" if metric == self.metrics[0] else metric + "_"}{name}_precision'

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Keep what is scored of ``data_samples`` (``DetDataSample.to_dict()``): ``pred_instances`` and ``img_id``."""
        for sample in data_samples:
            truth = truth_of(sample) if self._truth is None and not self.format_only else None
            prediction = prediction_of(sample, type(self).__name__)
            if 'keypoints' in prediction:  # a new array: the old one is the sample's
                prediction['keypoints'] = prediction['keypoints'] - np.array([self.keypoint_offset] * 2 + [0.0])
            self._check_prediction(prediction)
            self.results.append((truth, prediction))

    @property
    def reads_instances(self) -> bool:
        """Whether the ground truth is the ``instances`` of the samples, not a file."""
        return self._truth is None and not self.format_only

    def _check_prediction(self, prediction: dict) -> None:
        """Refuse what cannot be scored with the first batch, not after the last."""
        if self._truth is not None and not self._truth.has_image(prediction['img_id']):
            raise DataError(
                f'{self.ann_file} has no images with the ids [{prediction["img_id"]!r}] that were predicted.'
            )
        if not self.results:
            self._categories()  # raises if the classes aren't those of the file
        self._check_labels(prediction)
        for metric, key, field in (('segm', 'masks', 'segmentation'), ('keypoints', 'keypoints', 'keypoints')):
            if metric in self.metrics and len(prediction['scores']) and key not in prediction:
                raise DataError(f'metric {metric!r} needs {field}, which the predictions do not have.')

    @without_collector()
    def compute_metrics(self, results: list[tuple[dict | None, dict]]) -> dict[str, float]:
        """Scores of everything that ``process`` kept."""
        predictions = [prediction for _, prediction in results]
        check_paths(predictions)
        categories, category_ids = self._categories()
        found = [row for prediction in predictions for row in detections(prediction, category_ids)]
        fields = dict.fromkeys(FIELDS[metric] for metric in self.metrics)
        found_by_field = {field: finite_rows(found, field) for field in fields}
        if self.outfile_prefix is not None:
            self._write(found_by_field)
        if self.format_only or (self._truth is not None and not self._truth.has_annotations):
            return {}
        images, truth = self._images_and_truth(results, categories)
        images, categories, truth, *tables = numbered(images, categories, truth, *found_by_field.values())
        found_by_field = dict(zip(fields, tables))
        if 'segm' in self.metrics:
            check_mask_sizes(found_by_field['segmentation'], images)
        scores = {}
        for metric in self.metrics:
            rows = rows_for(metric, found_by_field[FIELDS[metric]], truth)
            if not rows[0]:
                warn(f'CocoMetric: there is no prediction at all for {metric}, all scores are zero.')
            scores.update(self.evaluate_metric(metric, images, categories, rows))
        return scores

    @property
    def _classes(self) -> Sequence[str]:
        if not self.dataset_meta or 'classes' not in self.dataset_meta:
            raise ConfigError("CocoMetric needs dataset_meta['classes']: the evaluator takes it from the dataset.")
        return self.dataset_meta['classes']

    def _check_labels(self, prediction: dict) -> None:
        highest = int(prediction['labels'].max()) if len(prediction['labels']) else -1
        if highest >= len(self._classes):
            raise DataError(
                f'Predicted label {highest}, but the dataset has only {len(self._classes)} classes: num_classes of the '
                f'model and metainfo of the dataset disagree.'
            )

    def _categories(self) -> tuple[list[dict], list[int | str | None]]:
        """Categories to evaluate, and the category id of each label."""
        if self._truth is not None:
            return self._truth.categories(self._classes)
        categories = [{'id': label, 'name': name} for label, name in enumerate(self._classes)]
        return categories, list(range(len(categories)))

    def _images_and_truth(
        self, results: list[tuple[dict | None, dict]], categories: list[dict]
    ) -> tuple[list[dict], list[dict]]:
        """Images that were predicted and the annotations of them."""
        if self._truth is None:
            truths = {truth['img_id']: truth for truth, _ in results}.values()
            images = [{'id': t['img_id'], 'height': t['height'], 'width': t['width']} for t in truths]
            return images, [row for truth in truths for row in truth_annotations(truth)]
        seen = {same_id(prediction['img_id']): prediction['size'] for _, prediction in results}
        images = self._truth.images(seen)
        listed = len(self._truth.image_ids)
        if len(images) < listed:
            warn(f'{self.ann_file}: scoring the {len(images)} predicted of {listed} images.')
        return images, self._truth.annotations(categories, seen)

    def evaluate_metric(
        self, metric: str, images: list[dict], categories: list[dict], rows: tuple[list[dict], list[dict]]
    ) -> dict[str, float]:
        """Scores of one metric by name.

        Args:
            metric: One of ``metric_names``.
            images: Images that were predicted, with ``id``.
            categories: Categories to evaluate, with ``id`` and ``name``.
            rows: Detections and ground truth, as COCO annotations with the ids of ``images`` and ``categories``.
        """
        if metric == 'proposal_fast':
            return self.fast_recall(images, *rows)
        found = rows[0]
        if metric == 'proposal':  # the class of a proposal means nothing
            found = [{**row, 'category_id': categories[0]['id']} for row in found]
        else:
            self._warn_of_cuts(metric, found, rows[1])
        truth = coco_index(images, categories, rows[1])
        items = self.items(metric)
        # the evaluator works as long for each number as for the one of precision
        numbers = self.proposal_nums if any(name.startswith('AR') for name in items) and metric != 'keypoints' else []
        scores = CocoScores(
            truth,
            coco_index(images, categories, found),
            kind='bbox' if metric == 'proposal' else metric,
            max_detections=numbers,
            iou_thrs=self.iou_thrs,
            class_agnostic=metric == 'proposal',
            sigmas=self._sigmas(rows[1]) if metric == 'keypoints' else None,
            ap_detections=None if metric == 'proposal' else self.max_detections,
        )
        values = {name: self._value(scores, name) for name in items}
        log_table(f'{metric}', ['metric', 'value'], [[name, value] for name, value in values.items()])
        named = {f'{self.prefix_of(metric)}{name}': value for name, value in values.items()}
        return named | (self._classwise(metric, scores, categories) if self.classwise and metric != 'proposal' else {})

    def _warn_of_cuts(self, metric: str, found: list[dict], truth: list[dict]) -> None:
        """Warn if there are more objects, or more predictions, than average precision considers."""
        limit = self.max_detections or default_detections(metric)
        crowded = [count for count in Counter(row['image_id'] for row in truth).values() if count > limit]
        cut = []
        is_usual = metric == 'keypoints'  # COCO counts 20 of the 100 persons that every model predicts
        # no image has more of a class than it has of all
        if not is_usual and max(Counter(row['image_id'] for row in found).values(), default=0) > limit:
            cut = [n for n in Counter((row['image_id'], row['category_id']) for row in found).values() if n > limit]
        advice = f'max_detections of CocoMetric is {limit}, and max_per_img of the model may limit them, too'
        if crowded:
            warn(f'{metric}: {len(crowded)} images have more than {limit} objects, up to {max(crowded)}: {advice}.')
        if cut:
            warn(f'{metric}: mAP leaves out all but the best {limit} predictions of a class in an image: {advice}.')

    def items(self, metric: str) -> Sequence[str]:
        """Scores to report of ``metric``, in their order; an unknown one of ``metric_items`` is a ConfigError."""
        most = self.proposal_nums[-1]
        recalls = [f'AR@{n}' for n in self.proposal_nums] + [f'AR_{size}@{most}' for size in _AREAS]
        precisions = ['mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l']
        if metric == 'keypoints':
            precisions.remove('mAP_s')  # COCO has no keypoints on small objects
            recalls = ['AR']
        if metric == 'proposal_fast':
            return recalls[: len(self.proposal_nums)]
        unknown = set(self.metric_items or ()) - {*recalls, *precisions}
        if unknown:
            raise ConfigError(f'metric_items {sorted(unknown)} are not among {[*precisions, *recalls]} of {metric}.')
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
        rows = []
        result = {}
        for category in categories:
            one = {'category': category['id']}
            values = [scores.precision(**one), scores.precision(0.5, **one), scores.precision(0.75, **one)]
            if metric == 'keypoints':
                names = names[:3]
            else:
                values += [scores.precision(area=area, **one) for area in _AREAS.values()]
            rows.append([category['name'], *values])
            score = self.class_score(metric, category['name'])
            result[score] = values[0] if values[0] >= 0 else float('nan')
        log_table(f'{metric} of each class', ['category', *names], rows)
        return result

    def _sigmas(self, truth: list[dict]) -> np.ndarray:
        counts = {len(row['keypoints']) // 3 for row in truth if 'keypoints' in row}
        if len(counts) != 1:
            raise DataError(f'Keypoint evaluation needs one number of keypoints everywhere, got {sorted(counts)}.')
        return keypoint_sigmas(counts.pop(), self.dataset_meta.get('sigmas'))

    def fast_recall(self, images: list[dict], found: list[dict], truth: list[dict]) -> dict[str, float]:
        """Recall of boxes regardless of their classes, by ``AR@100`` and so on."""
        ids = [image['id'] for image in images]
        boxes = boxes_by_image([row for row in truth if not row.get('iscrowd', 0)], ids)
        thresholds = np.arange(0.5, 0.96, 0.05) if self.iou_thrs is None else np.asarray(self.iou_thrs)
        recalls = eval_recalls(boxes, boxes_by_image(found, ids), self.proposal_nums, thresholds).mean(1)
        values = {f'AR@{n}': float(value) for n, value in zip(self.proposal_nums, recalls)}
        log_table('proposal_fast', ['metric', 'value'], [[name, value] for name, value in values.items()])
        return values

    def _write(self, found_by_field: dict[str, list[dict]]) -> None:
        """Write the predictions in COCO's result format, one file a kind."""
        for metric in dict.fromkeys(FILE_KINDS[name] for name in self.metrics):
            field = FIELDS[metric]
            rows, _ = rows_for(metric, found_by_field[field], None)
            keep = ('image_id', 'category_id', 'score', field)
            rows = [{key: value for key, value in row.items() if key in keep} for row in rows]
            dump(rows, f'{self.outfile_prefix}.{metric}.json')
        if self._truth is None:
            warn(
                f'{self.outfile_prefix}.*.json: no ann_file says the ids of categories, so that category_id counts the '
                f'classes from 0: 0 is {self._classes[0]!r}.'
            )
