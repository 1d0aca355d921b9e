"""What is answered to a picture, whatever serves it."""

import base64

import numpy as np

from mmdetlike.apis.loading import load_inferencer
from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.transforms.image_io import decode_image
from mmdetlike.errors import UserError


class Answers:
    """A detector, and how its predictions are written.

    Args:
        source: Arguments of ``load_inferencer``.
        score_thr: Objects that score less are left out.
    """

    def __init__(self, source: dict, score_thr: float) -> None:
        self.detector = load_inferencer(**source)
        self.classes = [str(name) for name in self.detector.model.dataset_meta['classes']]
        self.score_thr = score_thr

    def predict(self, pictures: list[np.ndarray | str]) -> list[dict]:
        """What is answered to each picture.

        Args:
            pictures: From `decode`: (h, w, 3), BGR, or why there is none.

        Returns:
            For each ``width``, ``height`` and ``objects``, or ``error`` and ``status``.
        """
        whole = [picture for picture in pictures if not isinstance(picture, str)]
        predictions = iter(self._predictions(whole))
        answers = []
        for picture in pictures:
            if isinstance(picture, str):
                answers.append(dict(error=picture, status=422))
                continue
            prediction = next(predictions)
            failed = 'error' in prediction
            answers.append(dict(prediction, status=422) if failed else self._written(prediction, picture.shape))
        return answers

    def _predictions(self, pictures: list[np.ndarray]) -> list[dict]:
        """What the detector says of each picture, ``error`` if it refuses one."""
        try:
            return self.detector(pictures, batch_size=len(pictures))['predictions'] if pictures else []
        except UserError as error:
            if len(pictures) == 1:
                return [dict(error=str(error))]
            # one picture, such as one too large for an exported program, must not take those of others with it
            return [entry for picture in pictures for entry in self._predictions([picture])]

    def _written(self, prediction: dict, shape: tuple) -> dict:
        """Objects as COCO writes them: ``bbox`` is x, y, width and height in pixels of the picture."""
        objects = []
        for index, score in enumerate(prediction['scores']):
            if score < self.score_thr:
                continue
            label = prediction['labels'][index]
            found = dict(category_id=label, category=self.classes[label], score=score)
            x1, y1, x2, y2 = prediction['bboxes'][index]
            found['bbox'] = [x1, y1, x2 - x1, y2 - y1]
            if 'masks' in prediction:
                found['segmentation'] = prediction['masks'][index]
            if 'keypoints' in prediction:
                points = zip(prediction['keypoints'][index], prediction['keypoint_scores'][index])
                found['keypoints'] = [number for (x, y), sure in points for number in (x, y, sure)]
            objects.append(found)
        return dict(width=shape[1], height=shape[0], objects=objects)


def decode(image: str) -> np.ndarray | str:
    """The picture (h, w, 3), BGR, of a text of base64.

    The reason if it can't be decoded, as an error would take the whole batch with it.
    """
    try:
        return decode_image(base64.b64decode(image), path='the picture')
    except ImageError as error:
        return str(error)
