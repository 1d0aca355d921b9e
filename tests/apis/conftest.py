"""A tiny detector and what it predicts, shared by tests of the inferencer."""

import pytest

from mmdetlike.apis import DetInferencer, inference_detector
from mmdetlike.apis.results import to_dict
from tests.apis.helpers import picture, tiny_detector


@pytest.fixture(scope='module')
def detector():
    return tiny_detector()


@pytest.fixture(scope='module')
def inferencer(detector):
    return DetInferencer(detector, show_progress=False)


@pytest.fixture(scope='module')
def expected(detector):
    """Predictions for the pictures that ``write_pictures`` writes."""
    return [to_dict(sample) for sample in inference_detector(detector, [picture(i) for i in range(4)])]
