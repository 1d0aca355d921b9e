"""What was found and what is annotated in the images of a validation, kept for the report of a training."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from mmengine.dist import collect_results

from mmdetlike.evaluation.functional.image_quality import box_quality
from mmdetlike.evaluation.metrics.convert import to_numpy
from mmdetlike.structures.bbox import geometry

_LEAST_SCORE = 0.01
_MOST_DETECTIONS = 100  # of an image, as COCO counts
_SHOWN_SIDE = 480  # pixels of the longer side of pictures that are kept


@dataclass
class ImageRecord:
    """An image of a validation; boxes (n, 4) xyxy in pixels of the original picture.

    Attributes:
        name: The picture's.
        prediction: ``bboxes``, ``scores``, ``labels``.
        truth: ``bboxes``, ``labels``, ``ignore``.
        quality: See `box_quality`.
        picture: RGB, made smaller, of the best and worst images; None for others.
        scale: Pixels of ``picture`` for one of the original.
    """

    name: str
    prediction: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]
    quality: float
    picture: np.ndarray | None = None
    scale: float = 1.0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is annotated, so that nothing tells it from others that are done right."""
        return not (~self.truth['ignore']).any()


def boxes_of_sample(sample, scaled: bool) -> tuple[dict, dict] | None:
    """Prediction and ground truth of a sample as arrays; None if it lacks one of them, or boxes aren't upright.

    Args:
        sample: What the model returned.
        scaled: Whether its ground truth is in pixels of the input, not of the original picture.
    """
    if 'pred_instances' not in sample or 'gt_instances' not in sample:
        return None
    found, annotated = sample.pred_instances, sample.gt_instances
    if 'bboxes' not in found or 'scores' not in found or 'bboxes' not in annotated:
        return None
    prediction = {key: to_numpy(found[key]) for key in ('bboxes', 'scores', 'labels')}
    truth = _truth(annotated, sample.get('ignored_instances'))
    if {prediction['bboxes'].shape[-1], truth['bboxes'].shape[-1]} != {geometry.HORIZONTAL}:
        return None
    if scaled:
        truth['bboxes'] = truth['bboxes'] / np.tile(sample.metainfo.get('scale_factor', (1, 1)), 2)
    order = np.argsort(-prediction['scores'], kind='stable')[:_MOST_DETECTIONS]
    order = order[prediction['scores'][order] >= _LEAST_SCORE]
    return {key: value[order] for key, value in prediction.items()}, truth


def _truth(annotated, ignored) -> dict[str, np.ndarray]:
    parts = [part for part in (annotated, ignored) if part is not None and 'bboxes' in part and len(part)]
    if not parts:
        return {'bboxes': np.zeros((0, 4)), 'labels': np.zeros(0, np.int64), 'ignore': np.zeros(0, bool)}
    return {
        'bboxes': np.concatenate([to_numpy(part.bboxes) for part in parts]),
        'labels': np.concatenate([to_numpy(part.labels) for part in parts]),
        'ignore': np.concatenate([np.full(len(part), part is ignored) for part in parts]),
    }


class ValidationRecord:
    """The images of a validation of this process, and pictures of the best and worst of them.

    Args:
        score_thr: Score from which on something counts as found in rating images.
        num_pictures: Best and worst images whose pictures are kept, of each kind.
    """

    def __init__(self, score_thr: float, num_pictures: int = 6) -> None:
        self.score_thr = score_thr
        self.num_pictures = num_pictures
        self.images: list[ImageRecord] = []
        self._shown: list[ImageRecord] = []

    def add(self, name: str, prediction: dict, truth: dict, picture: Callable[[], np.ndarray]) -> None:
        """Keep an image; ``picture`` gives it, RGB (h, w, 3) in its original size, and is called if it is shown."""
        image = ImageRecord(name, prediction, truth, box_quality(prediction, truth, self.score_thr))
        self.images.append(image)
        if image.is_empty:
            return
        if len(self._shown) >= 2 * self.num_pictures and not self._is_extreme(image.quality):
            return
        pixels = picture()
        image.scale = min(1.0, _SHOWN_SIDE / max(pixels.shape[:2]))
        size = [max(1, round(side * image.scale)) for side in pixels.shape[1::-1]]
        image.picture = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        self._shown = sorted([*self._shown, image], key=lambda shown: shown.quality)
        if len(self._shown) > 2 * self.num_pictures:
            self._shown.pop(self.num_pictures).picture = None

    def _is_extreme(self, quality: float) -> bool:
        worst = self._shown[self.num_pictures - 1].quality
        best = self._shown[self.num_pictures].quality
        return quality < worst or quality > best

    def gathered(self, size: int) -> list[ImageRecord] | None:
        """The images of all processes, in the first process; None in the others.

        Args:
            size: Images of the dataset, of which processes may have some twice.
        """
        return collect_results(self.images, size, 'cpu')


def extremes(images: list[ImageRecord], number: int) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """The worst images, worst first, and the best, best first, of those that have pictures; none in both."""
    shown = sorted((image for image in images if image.picture is not None), key=lambda image: image.quality)
    half = min(number, (len(shown) + 1) // 2)
    return shown[:half], shown[half:][::-1][:number]
