"""What a server takes and refuses, before any detector sees it."""

import asyncio
import base64
import io
import json
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip('starlette', reason='serving needs the packages of pip install .[serve]')

from mmdetlike.serving.gate import Gate
from mmdetlike.serving.limits import Limits, Refusal
from mmdetlike.serving.requests import read_body
from tests.apis.helpers import picture

PNG = cv2.imencode('.png', picture())[1].tobytes()
LARGE = cv2.imencode('.png', np.zeros((200, 300, 3), np.uint8))[1].tobytes()
BOUNDARY = 'x0x0x'


async def detector(scope, receive, send):
    """Answers with the number of bytes of the picture."""
    message = await receive()
    size = len(base64.b64decode(json.loads(message['body'])['image']))
    await send(dict(type='http.response.start', status=200, headers=[]))
    await send(dict(type='http.response.body', body=json.dumps(dict(size=size)).encode()))


def request(body: bytes = b'', kind: str = '', method: str = 'POST', path: str = '/predict', **gate):
    """Status and decoded body of the answer to a request."""
    sent = []

    async def receive():
        return dict(type='http.request', body=body, more_body=False)

    async def send(message):
        sent.append(message)

    headers = [(b'content-type', kind.encode())] if kind else []
    settings = dict(limits=Limits(size=10_000, pixels=50_000), classes=['circle'], **gate)
    app = Gate(detector, **settings)
    asyncio.run(app(dict(type='http', method=method, path=path, headers=headers), receive, send))
    content = sent[1]['body']
    return sent[0]['status'], json.loads(content) if content[:1] == b'{' else content.decode()


def form(content: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n'.encode()
    return head + content + f'\r\n--{BOUNDARY}--\r\n'.encode()


@pytest.mark.parametrize(
    'body, kind',
    [
        (PNG, 'image/png'),
        (PNG, 'application/octet-stream'),
        (PNG, ''),
        (json.dumps(dict(image=base64.b64encode(PNG).decode())).encode(), 'application/json'),
        (
            json.dumps(dict(image='data:image/png;base64,' + base64.b64encode(PNG).decode())).encode(),
            'application/json',
        ),
        (form(PNG), f'multipart/form-data; boundary={BOUNDARY}'),
    ],
)
def test_pictures_come_in_many_forms(body, kind):
    assert request(body, kind) == (200, dict(size=len(PNG)))


@pytest.mark.parametrize(
    'body, kind, status, sentence',
    [
        (b'', '', 400, 'the request is empty, expected the bytes of a picture'),
        (b'hello', 'text/plain', 415, "the Content-Type is 'text/plain', expected"),
        (b'hello', 'image/png', 415, 'the 5 bytes are no picture of a known format'),
        (b'{', 'application/json', 400, 'the request is no JSON: '),
        (b'[' * 9000, 'application/json', 400, 'the request is no JSON: '),
        (b'[1]', 'application/json', 400, 'the JSON must be an object with "image"'),
        (b'{"image": 3}', 'application/json', 400, '"image" must be a text of base64, got int'),
        (b'{"image": "?"}', 'application/json', 400, '"image" is no base64: '),
        (b'{"url": "http://x/a.png"}', 'application/json', 403, 'this server fetches no URLs'),
        (PNG * 100, 'image/png', 413, 'the request has more than 10000 bytes, the limit'),
        (LARGE, 'image/png', 413, 'the picture has 300 x 200 pixels, more than 50000'),
        (b'--', 'multipart/form-data', 400, 'the form cannot be read: '),
    ],
)
def test_bad_requests_are_refused_with_a_sentence(body, kind, status, sentence):
    got, answer = request(body, kind)
    assert got == status
    assert answer['error'].startswith(sentence)


@pytest.mark.parametrize(
    'urls, url, status, sentence',
    [
        ('public', 'file:///etc/passwd', 400, '"url" must be an address of http or https, got \'file:///etc/passwd\''),
        ('public', 'http://127.0.0.1:1/a.png', 403, '127.0.0.1 is an address of this machine or of a private network'),
        ('any', 'http://127.0.0.1:1/a.png', 400, 'http://127.0.0.1:1/a.png cannot be fetched: '),
    ],
)
def test_urls_need_a_flag(urls, url, status, sentence):
    got, answer = request(json.dumps(dict(url=url)).encode(), 'application/json', urls=urls)
    assert got == status
    assert answer['error'].startswith(sentence)


@pytest.mark.parametrize('suffix', ['EPS', 'ICO', 'JPEG2000', 'ICNS'])
def test_formats_that_run_programs_or_lie_about_their_size_are_refused(suffix):
    content = io.BytesIO()
    Image.new('RGB', (16, 16)).save(content, suffix)
    status, answer = request(content.getvalue(), 'image/any')
    assert status == 415
    assert answer['error'].endswith('no picture of a known format (JPEG, PNG, WEBP, GIF, BMP, TIFF, PPM, AVIF)')


@pytest.mark.parametrize('suffix', ['JPEG', 'PNG', 'WEBP', 'GIF', 'BMP', 'TIFF', 'PPM'])
def test_known_formats_pass(suffix):
    content = io.BytesIO()
    Image.new('RGB', (16, 16)).save(content, suffix)
    assert request(content.getvalue(), 'image/any') == (200, dict(size=len(content.getvalue())))


def test_pixels_beyond_what_pillow_takes_are_told_by_its_limit():
    content = bytearray(PNG)
    content[16:24] = (20_000).to_bytes(4, 'big') * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, 'big')
    with pytest.raises(Refusal, match=r'more pixels than 178956970, the limit'):
        Limits(pixels=10**9).check_picture(bytes(content))


def test_a_request_that_comes_too_slowly_frees_its_place():
    async def never():
        await asyncio.sleep(60)

    with pytest.raises(Refusal, match=r'the request is not whole after 0.1 seconds') as refusal:
        asyncio.run(read_body(never, Limits(seconds=0.1)))
    assert refusal.value.status == 408


def test_a_request_that_waited_too_long_is_told_in_words(monkeypatch):
    async def late(scope, receive, send):
        await send(dict(type='http.response.start', status=504, headers=[]))
        await send(dict(type='http.response.body', body=b'{"detail": "Request timed out"}'))

    monkeypatch.setitem(globals(), 'detector', late)
    sentence = 'the request waited for its turn for more than 60 seconds, the limit of this server: try again later'
    assert request(PNG, 'image/png') == (504, dict(error=sentence))


@pytest.mark.parametrize(
    'method, path, status, sentence',
    [
        ('GET', '/predict', 405, '/predict takes POST, got GET'),
        ('POST', '/', 405, '/ takes GET, got POST'),
        ('GET', '/docs', 404, 'there is no /docs here: expected one of /, /classes, /health, /predict'),
    ],
)
def test_other_addresses_are_told(method, path, status, sentence):
    assert request(method=method, path=path) == (status, dict(error=sentence))


KINDS = ['', 'image/png', 'application/json', f'multipart/form-data; boundary={BOUNDARY}', 'a/b', 'application/json;']
BODIES = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=60).map(lambda tail: PNG[:90] + tail),
    st.binary(max_size=60).map(form),
    st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)).map(
        lambda value: json.dumps(dict(image=value)).encode()
    ),
)


@settings(deadline=None, max_examples=300)
@given(BODIES, st.sampled_from(KINDS))
def test_no_request_breaks_the_server(body, kind):
    status, answer = request(body, kind)
    assert status == 200 or 400 <= status < 500
    assert ('error' in answer) == (status != 200)


def test_classes_and_a_page():
    assert request(method='GET', path='/classes') == (200, dict(classes=['circle']))
    status, page = request(method='GET', path='/')
    assert status == 200
    assert '<canvas' in page
