"""A detector as LitServe calls it; imported only by what serves, as it needs ``litserve``."""

import litserve
import numpy as np

from mmdetlike.serving.answers import Answers, decode
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
        self.settings = (source, score_thr)

    def setup(self, device) -> None:
        """Load the detector, in the process that runs it."""
        self.answers = Answers(*self.settings)

    def decode_request(self, request: dict) -> np.ndarray | str:
        """The picture (h, w, 3), BGR, or why there is none."""
        return decode(request['image'])

    def batch(self, inputs: list) -> list:
        """As they are: pictures are of different sizes."""
        return inputs

    def unbatch(self, output: list) -> list:
        """As they are."""
        return output

    def predict(self, pictures: list) -> list[dict]:
        """What is answered to each picture."""
        return self.answers.predict(pictures if isinstance(pictures, list) else [pictures])

    def encode_response(self, output) -> dict:
        """As it is."""
        return output[0] if isinstance(output, list) else output


def build_server(api: DetectionAPI, classes: list[str], limits: Limits, urls: str) -> litserve.LitServer:
    """The server of a detector."""
    gate = (Gate, dict(limits=limits, classes=classes, urls=urls))
    return litserve.LitServer(api, accelerator='cpu', timeout=limits.seconds, middlewares=[gate])
