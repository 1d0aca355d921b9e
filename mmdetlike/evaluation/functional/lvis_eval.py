"""Average precision and recall of LVIS (arXiv:1908.03195), whose images are annotated for some classes only."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

MAX_DETECTIONS = 300  # of all classes together, in an image
FREQUENCIES = {'r': 'rare', 'c': 'common', 'f': 'frequent'}


def best_of_images(found: Iterable[dict], number: int) -> list[dict]:
    """The ``number`` detections of each image with the best scores, of all classes together."""
    groups: dict[int, list[dict]] = defaultdict(list)
    for row in found:
        groups[row['image_id']].append(row)
    kept = []
    for rows in groups.values():
        best = rows if len(rows) <= number else sorted(rows, key=lambda row: row['score'], reverse=True)[:number]
        kept += best
    return kept


def judged(found: Iterable[dict], truth: Iterable[dict], images: Iterable[dict]) -> list[dict]:
    """The detections of classes that their image was searched for: others are neither right nor wrong."""
    verified = {image['id']: set(image['neg_category_ids']) for image in images}
    for row in truth:
        verified[row['image_id']].add(row['category_id'])
    return [row for row in found if row['category_id'] in verified[row['image_id']]]


class LvisScores:
    """Average precision and recall of detections.

    Detections of a class in an image that was not searched for it do not count; where it was searched, but not every
    instance marked, those that match nothing do not count.

    Args:
        images: With ``id``, ``height``, ``width``, and the ids of categories ``neg_category_ids`` (searched, not there)
            and ``not_exhaustive_category_ids`` (there, not every instance marked).
        categories: With ``id`` and ``frequency``, 'r', 'c' or 'f'.
        truth: COCO annotations.
        found: COCO results, with ``area``.
        kind: 'bbox' or 'segm'.
        iou_thrs: Overlaps to average over; 0.5, 0.55, ..., 0.95 if None.
        max_detections: Detections of an image that count, best first.
    """

    def __init__(
        self,
        images: Sequence[dict],
        categories: Sequence[dict],
        truth: Sequence[dict],
        found: Sequence[dict],
        kind: str,
        iou_thrs: Sequence[float] | None = None,
        max_detections: int = MAX_DETECTIONS,
    ) -> None:
        self._kind = kind
        self._images = {image['id']: image for image in images}
        self._categories = {category['id']: category for category in categories}
        self._iou_thrs = np.linspace(0.5, 0.95, 10) if iou_thrs is None else np.asarray(iou_thrs, dtype=np.float64)
        self._max_detections = max_detections
        found = judged(best_of_images(found, max_detections), truth, images)
        self._frequencies = np.array([category['frequency'] for category in categories])
        truth_of = _by_category(truth)
        found_of = _by_category(found)
        # One class at a time: the evaluator keeps a list for each pair of image and class, 24 million of them.
        scores = [self._scores(truth_of[category], found_of[category]) for category in self._categories]
        self._precision = np.stack([precision for precision, _ in scores], axis=1)  # IoU, category, area
        self._recall = np.stack([recall for _, recall in scores], axis=1)

    def _scores(self, truth: list[dict], found: list[dict]) -> tuple[np.ndarray, np.ndarray]:
        """Average precision and recall of a category, (number of overlaps, number of areas) each."""
        rows = [*truth, *found]
        if not truth:
            nothing = np.full((len(self._iou_thrs), len(_AREAS)), -1.0)
            return nothing, nothing
        images = [self._images[image] for image in sorted({row['image_id'] for row in rows})]
        categories = [self._categories[truth[0]['category_id']]]
        quiet = logging.getLogger(__name__).debug
        indices = [COCO(_content(images, categories, part), print_function=quiet) for part in (truth, found)]
        evaluator = COCOeval_faster(*indices, iouType=self._kind, lvis_style=True, print_function=quiet)
        params = evaluator.params
        params.iouThrs = self._iou_thrs
        params.maxDets = [self._max_detections]
        evaluator.evaluate()
        evaluator.accumulate()
        precision = np.asarray(evaluator.eval['precision'])[..., 0, :, 0]  # IoU, recall, area
        return precision.mean(1), np.asarray(evaluator.eval['recall'])[:, 0, :, 0]

    def precision(self, iou: float | None = None, area: str = 'all', frequency: str | None = None) -> float:
        """Average precision; -1 without ground truth.

        Args:
            iou: At this overlap instead of averaged over all.
            area: 'all', 'small', 'medium' or 'large'.
            frequency: Only of classes that are 'r' (in up to 10 training images), 'c' (up to 100) or 'f'.
        """
        return self._mean(self._precision, iou, area, frequency)

    def recall(self, area: str = 'all') -> float:
        """Average recall; -1 without ground truth."""
        return self._mean(self._recall, None, area, None)

    def class_precisions(self) -> np.ndarray:
        """(number of categories,) average precision of each; -1 without ground truth."""
        return self._precision[:, :, _AREAS.index('all')].mean(0)

    def _mean(self, values: np.ndarray, iou: float | None, area: str, frequency: str | None) -> float:
        values = values[:, :, _AREAS.index(area)]
        if iou is not None:
            values = values[np.isclose(self._iou_thrs, iou)]
        if frequency is not None:
            values = values[:, self._frequencies == frequency]
        known = values[values > -1]
        return float(known.mean()) if known.size else -1.0


_AREAS = ('all', 'small', 'medium', 'large')


def _by_category(rows: Iterable[dict]) -> dict[int, list[dict]]:
    groups: dict[int, list[dict]] = defaultdict(list)
    for row in rows:
        groups[row['category_id']].append(row)
    return groups


def _content(images: list[dict], categories: list[dict], rows: Iterable[dict]) -> dict:
    numbered = [{**row, 'id': number} for number, row in enumerate(rows, 1)]
    return {'images': images, 'categories': categories, 'annotations': numbered}
