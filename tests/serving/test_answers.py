"""What is answered to pictures: those that are refused don't take others with them, whatever the bytes are."""

import base64
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.errors import ConfigError
from mmdetlike.serving import answers
from mmdetlike.serving.answers import Answers, decode
from tests.apis.helpers import picture

LIMIT = 64
FORMATS = {
    suffix: cv2.imencode(suffix, picture(0, 40, 50))[1].tobytes()
    for suffix in ('.png', '.jpg', '.tif', '.webp', '.gif', '.bmp', '.ppm', '.avif')
}


class Detector:
    """Finds an object as large as the picture, and refuses a batch with a picture that is too large."""

    model = SimpleNamespace(dataset_meta=dict(classes=('circle', 'square')))

    def __init__(self) -> None:
        self.calls = []

    def __call__(self, pictures, batch_size):
        self.calls.append(len(pictures))
        assert batch_size == len(pictures)
        if max(image.shape[0] for image in pictures) > LIMIT:
            raise ConfigError(f'a picture is higher than {LIMIT}')
        boxes = [[1.0, 2.0, float(image.shape[1]), float(image.shape[0])] for image in pictures]
        return dict(predictions=[dict(labels=[1, 0], scores=[0.9, 0.2], bboxes=[box, box]) for box in boxes])


@pytest.fixture
def served(monkeypatch):
    monkeypatch.setattr(answers, 'load_inferencer', lambda **settings: Detector())
    return Answers(dict(model='model'), 0.3)


def test_objects_as_coco_writes_them(served):
    (answer,) = served.predict([picture(0, 40, 50)])
    found = dict(category_id=1, category='square', score=0.9, bbox=[1.0, 2.0, 49.0, 38.0])
    assert answer == dict(width=50, height=40, objects=[found])


def test_a_picture_that_is_refused_is_refused_alone(served):
    answer = served.predict([picture(0, 40, 50), 'it is damaged', picture(0, 90, 50), picture(0, 64, 64)])
    assert [entry.get('height') for entry in answer] == [40, None, None, 64]
    assert answer[1] == dict(error='it is damaged', status=422)
    assert answer[2] == dict(error='a picture is higher than 64', status=422)
    assert served.detector.calls == [3, 1, 1, 1]


def test_no_whole_picture_at_all(served):
    assert served.predict(['a', 'b']) == [dict(error='a', status=422), dict(error='b', status=422)]
    assert served.detector.calls == []


@st.composite
def damaged(draw) -> bytes:
    """A picture of which bytes are changed, cut off or repeated."""
    content = bytearray(FORMATS[draw(st.sampled_from(sorted(FORMATS)))])
    for place, value in draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=8)):
        content[place] = value
    end = draw(st.integers(0, len(content)))
    return bytes(content[:end] if draw(st.booleans()) else content + content[end:])


@settings(deadline=None, max_examples=300)
@given(damaged())
def test_damaged_pictures_are_decoded_or_refused(content):
    outcome = decode(base64.b64encode(content).decode())
    if isinstance(outcome, str):
        assert outcome.startswith('the picture: ')
    else:
        assert outcome.dtype == np.uint8 and outcome.ndim == 3 and outcome.shape[2] == 3
