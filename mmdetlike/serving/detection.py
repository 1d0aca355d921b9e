"""A detector as LitServe calls it; imported only by what serves, as it needs ``litserve``."""

import base64

import litserve
import numpy as np

from mmdetlike.apis.loading import load_inferencer
from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.transforms.image_io import decode_image
from mmdetlike.serving.gate import PREDICT, Gate
from mmdetlike.serving.limits import Limits


class DetectionAPI(litserve.LitAPI):
    """Answers requests, several at a time.

    Args:
        source: Arguments of ``load_inferencer``.
        score_thr: Objects that score less are left out.
        batch_size: Pictures that go through the detector at once.
        wait: Seconds for which a batch waits to become full.
    """

    def __init__(self, source: dict, score_thr: float, batch_size: int, wait: float) -> None:
        super().__init__(max_batch_size=batch_size, batch_timeout=wait, api_path=PREDICT)
        self.source = source
        self.score_thr = score_thr

    def setup(self, device) -> None:
        """Load the detector, in the process that runs it."""
        self.detector = load_inferencer(**self.source)
        self.classes = list(self.detector.model.dataset_meta['classes'])

    def decode_request(self, request: dict) -> np.ndarray | str:
        """The picture (h, w, 3), BGR; the reason if it can't be decoded, as an error would take the batch with it."""
        try:
            return decode_image(base64.b64decode(request['image']), path='the picture')
        except ImageError as error:
            return str(error)

    def batch(self, inputs: list) -> list:
        """As they are: pictures are of different sizes."""
        return inputs

    def unbatch(self, output: list) -> list:
        """As they are."""
        return output

    def predict(self, pictures: list) -> list[dict]:
        """What is answered to each picture."""
        pictures = pictures if isinstance(pictures, list) else [pictures]
        whole = [picture for picture in pictures if not isinstance(picture, str)]
        predictions = iter(self.detector(whole, batch_size=len(whole))['predictions'] if whole else ())
        answers = []
        for picture in pictures:
            if isinstance(picture, str):
                answers.append(dict(error=picture, status=422))
                continue
            prediction = next(predictions)
            failed = 'error' in prediction
            answers.append(dict(prediction, status=422) if failed else self.answer(prediction, picture.shape))
        return answers

    def encode_response(self, output) -> dict:
        """As it is."""
        return output[0] if isinstance(output, list) else output

    def answer(self, prediction: dict, shape: tuple) -> dict:
        """Objects as COCO writes them: ``bbox`` is x, y, width and height in pixels of the picture."""
        objects = []
        for index, score in enumerate(prediction['scores']):
            if score < self.score_thr:
                continue
            label = prediction['labels'][index]
            found = dict(category_id=label, category=str(self.classes[label]), score=score)
            x1, y1, x2, y2 = prediction['bboxes'][index]
            found['bbox'] = [x1, y1, x2 - x1, y2 - y1]
            if 'masks' in prediction:
                found['segmentation'] = prediction['masks'][index]
            if 'keypoints' in prediction:
                points = zip(prediction['keypoints'][index], prediction['keypoint_scores'][index])
                found['keypoints'] = [number for (x, y), sure in points for number in (x, y, sure)]
            objects.append(found)
        return dict(width=shape[1], height=shape[0], objects=objects)


def build_server(api: DetectionAPI, classes: list[str], limits: Limits, allow_url: bool) -> litserve.LitServer:
    """The server of a detector."""
    gate = (Gate, dict(limits=limits, classes=classes, allow_url=allow_url))
    return litserve.LitServer(api, accelerator='cpu', timeout=limits.seconds, middlewares=[gate])
