"""A server with a detector behind it."""

import concurrent.futures
import json
import signal
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
from tests.browser import open_page
from tests.export.helpers import deployed_for_pictures
from tests.utils import ROOT

pytestmark = pytest.mark.slow


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


SERVERS = {'litserve': [], 'ray': ['--ray']}


@pytest.fixture(scope='module', params=SERVERS)
def address(artifact, request):
    pytest.importorskip('litserve' if request.param == 'litserve' else 'ray.serve')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    command = [sys.executable, ROOT / 'tools/serve.py', artifact, '--port', port, '--score-thr', 0]
    command += SERVERS[request.param]
    process = subprocess.Popen([*map(str, command)], cwd=ROOT, start_new_session=True)
    url = f'http://127.0.0.1:{port}'
    try:
        for _ in range(600):
            time.sleep(0.5)
            try:
                if ask(f'{url}/health')[0] == 200:
                    break
            except OSError:
                assert process.poll() is None
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    socket.create_server(('127.0.0.1', port)).close()  # none of its processes holds it any more


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
    status, content = ask(f'{address}/predict', cv2.imencode('.png', picture(0, 96, 96))[1].tobytes())
    assert status == 422
    assert 'takes 64 x 64 at most' in json.loads(content)['error']
    assert ask(f'{address}/nothing', b'x')[0] == 404
    assert ask(f'{address}/health') == (200, b'ok')
    assert ask(f'{address}/predict', png(1))[0] == 200


def test_the_page_shows_a_picture_with_its_boxes(address, tmp_path):
    (tmp_path / 'picture.png').write_bytes(png(3))
    (tmp_path / 'broken.png').write_bytes(png(3)[:100])
    answer = json.loads(ask(f'{address}/predict', png(3))[1])
    with open_page() as (page, errors):
        page.goto(address)
        page.set_input_files('#file', tmp_path / 'picture.png')
        page.wait_for_function('document.getElementById("message").textContent.endsWith("objects")')
        texts = page.locator('#objects li').all_inner_texts()
        assert texts == [f'{found["category"]} {found["score"]:.2f}' for found in answer['objects']]
        assert page.evaluate('[canvas.width, canvas.height]') == [64, 64]
        # the frame of the best object is drawn over the picture, in the color of its class
        x, y, _, height = answer['objects'][-1]['bbox']
        pixels = 'canvas.getContext("2d").getImageData(0, 0, 64, 64).data'
        drawn = np.array(page.evaluate(f'Array.from({pixels})')).reshape(64, 64, 4)[..., :3]
        shown = picture(3, 64, 64)[..., ::-1]
        changed = np.argwhere((drawn != shown).any(-1))
        middle = int(y + height / 2)
        assert len(changed) and any(row == middle and abs(column - x) <= 2 for row, column in changed.tolist())
        assert errors == []
        page.set_input_files('#file', tmp_path / 'broken.png')
        page.wait_for_function('document.getElementById("message").textContent.includes("the picture")')
        assert page.locator('#objects li').count() == 0
        assert page.evaluate('[canvas.width, canvas.height]') == [0, 0]
        page.screenshot(path=tmp_path / 'page.png')
