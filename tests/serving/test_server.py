"""A server with a detector behind it."""

import concurrent.futures
import importlib.util
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest

from mmdetlike.apis import Detector
from tests.apis.helpers import picture
from tests.export.helpers import deployed_for_pictures
from tests.utils import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec('litserve') is None, reason='pip install .[serve]'),
]


def ask(address: str, body: bytes | None = None, kind: str = 'image/png'):
    """Status and body of the answer to a request."""
    message = urllib.request.Request(address, data=body, headers={'Content-Type': kind})
    try:
        with urllib.request.urlopen(message, timeout=120) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture(scope='module')
def artifact(tmp_path_factory):
    return deployed_for_pictures(tmp_path_factory.mktemp('serve') / 'retinanet')


@pytest.fixture(scope='module')
def address(artifact):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    command = [sys.executable, ROOT / 'tools/serve.py', artifact, '--port', port, '--score-thr', 0]
    process = subprocess.Popen([*map(str, command)], cwd=ROOT, start_new_session=True)
    url = f'http://127.0.0.1:{port}'
    try:
        for _ in range(240):
            time.sleep(0.5)
            try:
                if ask(f'{url}/health')[0] == 200:
                    break
            except OSError:
                assert process.poll() is None
        yield url
    finally:
        process.terminate()
        process.wait(30)


def png(seed: int) -> bytes:
    return cv2.imencode('.png', picture(seed, 64, 64))[1].tobytes()


def test_200_requests_at_a_time_lose_none(address, artifact):
    detector = Detector.load(artifact, show_progress=False)
    expected = detector([picture(i, 64, 64) for i in range(20)])['predictions']
    assert all(entry['labels'] for entry in expected)
    broken = png(0)[:200]
    with concurrent.futures.ThreadPoolExecutor(200) as pool:
        bodies = [broken if i % 10 == 9 else png(i % 20) for i in range(200)]
        answers = list(pool.map(lambda body: ask(f'{address}/predict', body), bodies))
    for index, (status, content) in enumerate(answers):
        answer = json.loads(content)
        if index % 10 == 9:
            assert status == 422, content
            assert 'the picture' in answer['error']
            continue
        assert status == 200, content
        assert (answer['width'], answer['height']) == (64, 64)
        assert [found['category_id'] for found in answer['objects']] == expected[index % 20]['labels']
        boxes = [found['bbox'] for found in answer['objects']]
        corners = [[x, y, x + width, y + height] for x, y, width, height in boxes]
        assert np.allclose(corners, expected[index % 20]['bboxes'], atol=1e-3)


def test_what_is_refused_is_told_and_the_server_lives_on(address):
    assert ask(f'{address}/predict', b'x')[0] == 415
    assert ask(f'{address}/predict', b'{}', 'application/json')[0] == 400
    assert json.loads(ask(f'{address}/classes')[1]) == dict(classes=['circle', 'square', 'star'])
    assert ask(f'{address}/health')[0] == 200
    assert ask(f'{address}/predict', png(1))[0] == 200
