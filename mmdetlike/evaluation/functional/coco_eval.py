"""COCO's average precision and recall (arXiv:1405.0312), by the compiled evaluator of faster-coco-eval."""

import logging
from collections.abc import Sequence

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from ...errors import ConfigError

AP_MAX_DETECTIONS = 100  # what average precision is defined for; recall is reported for other numbers too
KEYPOINT_MAX_DETECTIONS = 20

# COCO's 17 person keypoints; other skeletons have no published ones
PERSON_SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
DEFAULT_SIGMA = 0.05


def coco_index(images: list[dict], categories: list[dict], annotations: list[dict]) -> COCO:
    """An index of ``annotations``, which get ids from 1 on in place: there may be millions."""
    for number, annotation in enumerate(annotations, 1):
        annotation['id'] = number
    content = {'images': images, 'categories': categories, 'annotations': annotations}
    return COCO(content, print_function=logging.getLogger(__name__).debug)


def default_detections(kind: str) -> int:
    """Detections of a category in an image that COCO's average precision considers."""
    return KEYPOINT_MAX_DETECTIONS if kind == 'keypoints' else AP_MAX_DETECTIONS


COCO_OVERLAPS = np.linspace(0.5, 0.95, 10)
MAX_PAIRS = 1_000_000  # of images and categories, evaluated at once; COCO has 400,000
GROUP = 16  # categories evaluated at once where there are more: they occur in a small part of the images


class CocoScores:
    """Average precision and recall of detections.

    Args:
        truth: Index of the ground truth.
        detections: Index of the detections, each with ``score``, ``area`` and what ``kind`` needs.
        kind: 'bbox', 'segm' or 'keypoints': what overlap is measured on.
        max_detections: Numbers of detections in an image to report recall for.
        iou_thrs: Overlaps to average over; COCO's 0.5, 0.55, ..., 0.95 if None.
        class_agnostic: Match regardless of the category, for proposals.
        sigmas: Keypoint falloffs, one for each keypoint.
        ap_detections: Detections of a category in an image that precision considers, best first; COCO's 100, for
            keypoints 20, if None.
    """

    def __init__(
        self,
        truth: COCO,
        detections: COCO,
        kind: str,
        max_detections: Sequence[int] = (),
        iou_thrs: Sequence[float] | None = None,
        class_agnostic: bool = False,
        sigmas: Sequence[float] | None = None,
        ap_detections: int | None = None,
    ) -> None:
        self._truth = truth
        self._detections = detections
        self._kind = kind
        self._sigmas = sigmas
        self._class_agnostic = class_agnostic
        self._iou_thrs = COCO_OVERLAPS if iou_thrs is None else np.asarray(iou_thrs, dtype=np.float64)
        self._ap_detections = ap_detections or default_detections(kind)
        self._max_detections = sorted({self._ap_detections, *max_detections})
        category_ids = sorted(truth.getCatIds())
        # -1 stands for all categories together, as in the evaluator
        self.categories = [-1] if class_agnostic else category_ids
        groups = [category_ids] if class_agnostic else self._groups(category_ids)
        parts = [self._scores(group) for group in groups]
        self._precision = np.concatenate([part[0] for part in parts], axis=1)  # IoU, category, area
        self._recall = np.concatenate([part[1] for part in parts], axis=1)  # IoU, category, area, max detections

    def _groups(self, category_ids: list[int]) -> list[list[int]]:
        """Categories to be evaluated together: the evaluator keeps a list for each pair of image and category."""
        is_small = len(category_ids) * len(self._truth.imgs) <= MAX_PAIRS
        size = max(len(category_ids), 1) if is_small else GROUP
        return [category_ids[start : start + size] for start in range(0, len(category_ids), size)] or [[]]

    def _images_of(self, category_ids: list[int]) -> list:
        """Images in which something of these categories is annotated or found; others make no difference."""
        images: set = set()
        for index in (self._truth, self._detections):
            for category in category_ids:
                images.update(index.cat_img_map.get(category, ()))
        return sorted(images)

    def _scores(self, category_ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Precision (IoU, category, area) over all recalls and recall (IoU, category, area, max detections)."""
        quiet = logging.getLogger(__name__).debug
        evaluator = COCOeval_faster(self._truth, self._detections, iouType=self._kind, print_function=quiet)
        params = evaluator.params
        params.useCats = int(not self._class_agnostic)
        params.catIds = category_ids
        if len(category_ids) < len(self.categories):
            params.imgIds = self._images_of(category_ids)
        params.iouThrs = self._iou_thrs
        params.maxDets = self._max_detections
        if self._kind == 'keypoints':
            params.kpt_oks_sigmas = np.asarray(self._sigmas, dtype=np.float64)
        evaluator.evaluate()
        evaluator.accumulate()
        self._areas = list(params.areaRngLbl)
        number = self._max_detections.index(self._ap_detections)
        # without truth all of a category's entries are -1, and so is their mean
        precision = np.asarray(evaluator.eval['precision'])[..., number].mean(axis=1)
        return precision, np.asarray(evaluator.eval['recall'])

    def precision(self, iou: float | None = None, area: str = 'all', category: int | None = None) -> float:
        """Average precision; -1 without ground truth.

        Args:
            iou: At this overlap instead of averaged over all.
            area: 'all', 'small', 'medium' or 'large'.
            category: Id of a category instead of the mean over all.
        """
        values = self._precision[..., self._areas.index(area)]
        if category is not None:
            values = values[:, [self.categories.index(category)]]
        return self._mean(values, iou)

    def recall(self, iou: float | None = None, area: str = 'all', max_detections: int | None = None) -> float:
        """Average recall with at most ``max_detections`` in an image (the number for precision if None)."""
        number = self._ap_detections if max_detections is None else max_detections
        values = self._recall[..., self._areas.index(area), self._max_detections.index(number)]
        return self._mean(values, iou)

    def _mean(self, values: np.ndarray, iou: float | None) -> float:
        if iou is not None:
            values = values[np.isclose(self._iou_thrs, iou)]
        known = values[values > -1]
        return float(known.mean()) if known.size else -1.0


def keypoint_sigmas(num_keypoints: int, given: Sequence[float] | None) -> np.ndarray:
    """The falloff of each keypoint: those ``given``, COCO's for 17, else 0.05 for all.

    Raises:
        ConfigError: ``given`` has another length.
    """
    if given is not None:
        if len(given) != num_keypoints:
            raise ConfigError(f'dataset_meta has {len(given)} sigmas for keypoints of {num_keypoints} points.')
        return np.asarray(given, dtype=np.float64)
    return PERSON_SIGMAS if num_keypoints == len(PERSON_SIGMAS) else np.full(num_keypoints, DEFAULT_SIGMA)
