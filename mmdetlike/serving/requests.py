"""The picture in a request: its bytes, base64 in JSON, a file of a form, or a URL."""

import base64
import binascii
import json
import urllib.error
import urllib.request
from urllib.parse import urlparse

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from mmdetlike.serving.limits import Limits, Refusal

EXPECTED = (
    'expected the bytes of a picture (Content-Type: image/... or application/octet-stream), JSON with its base64 as '
    '"image" (Content-Type: application/json), or a form with a file (Content-Type: multipart/form-data)'
)
FETCH_SECONDS = 10


async def read_body(receive, limits: Limits) -> bytes:
    """The body of a request, in ASGI's messages.

    Raises:
        Refusal: It is larger than allowed, or the client went away.
    """
    parts = []
    size = 0
    while True:
        message = await receive()
        if message['type'] == 'http.disconnect':
            raise Refusal(400, 'the client closed the connection before the request was whole')
        parts.append(message.get('body', b''))
        size += len(parts[-1])
        limits.check_size(size)
        if not message.get('more_body', False):
            return b''.join(parts)


async def picture_of(scope: dict, body: bytes, limits: Limits, allow_url: bool) -> bytes:
    """The bytes of the picture that a request holds or names.

    Args:
        scope: Of ASGI, for the headers.
        body: Of the request.
        limits: For pictures that are fetched.
        allow_url: Fetch pictures from addresses that requests name.

    Raises:
        Refusal: There is none.
    """
    if not body:
        raise Refusal(400, f'the request is empty, {EXPECTED}')
    kind = dict(scope['headers']).get(b'content-type', b'').decode('latin-1').split(';')[0].strip().lower()
    if kind.startswith('image/') or kind in ('application/octet-stream', ''):
        return body
    if kind == 'application/json':
        return await _of_json(body, limits, allow_url)
    if kind == 'multipart/form-data':
        return await _of_form(scope, body)
    raise Refusal(415, f'the Content-Type is {kind!r}, {EXPECTED}')


async def _of_json(body: bytes, limits: Limits, allow_url: bool) -> bytes:
    try:
        entries = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f'the request is no JSON: {str(error)[:100]}') from error
    if not isinstance(entries, dict) or not ({'image', 'url'} & set(entries)):
        raise Refusal(400, 'the JSON must be an object with "image", a text of base64')
    if 'image' in entries:
        return _decoded(entries['image'])
    if not allow_url:
        raise Refusal(403, 'this server fetches no URLs: send the picture itself, or start it with --allow-url')
    return await run_in_threadpool(_fetched, entries['url'], limits)


def _decoded(text) -> bytes:
    if not isinstance(text, str):
        raise Refusal(400, f'"image" must be a text of base64, got {type(text).__name__}')
    if text.startswith('data:'):
        text = text.partition(',')[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, f'"image" is no base64: {error}') from error


def _fetched(url, limits: Limits) -> bytes:
    if not isinstance(url, str) or urlparse(url).scheme not in ('http', 'https'):
        raise Refusal(400, f'"url" must be an address of http or https, got {str(url)[:200]!r}')
    try:
        with urllib.request.urlopen(url, timeout=FETCH_SECONDS) as response:
            content = response.read(limits.size + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise Refusal(400, f'{url[:200]} cannot be fetched: {error}') from error
    limits.check_size(len(content))
    return content


async def _of_form(scope: dict, body: bytes) -> bytes:
    async def receive() -> dict:
        return dict(type='http.request', body=body, more_body=False)

    try:
        form = await Request(scope, receive).form()
    except Exception as error:  # starlette and python-multipart raise many kinds
        raise Refusal(400, f'the form cannot be read: {getattr(error, "detail", error)}') from error
    files = [value for value in form.values() if not isinstance(value, str)]
    if len(files) != 1:
        raise Refusal(400, f'the form must have one file, got {len(files)}')
    return await files[0].read()
