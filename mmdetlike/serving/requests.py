"""The picture in a request: its bytes, base64 in JSON, a file of a form, or a URL."""

import asyncio
import base64
import binascii
import json

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from mmdetlike.serving.fetching import fetch
from mmdetlike.serving.limits import Limits, Refusal

EXPECTED = (
    'expected the bytes of a picture (Content-Type: image/... or application/octet-stream), JSON with its base64 as '
    '"image" (Content-Type: application/json), or a form with a file (Content-Type: multipart/form-data)'
)


async def read_body(receive, limits: Limits) -> bytes:
    """The body of a request, in ASGI's messages.

    Raises:
        Refusal: It is larger than allowed, comes too slowly, or the client went away.
    """
    try:
        return await asyncio.wait_for(_read_body(receive, limits), limits.seconds)
    except asyncio.TimeoutError as error:
        raise Refusal(408, f'the request is not whole after {limits.seconds:g} seconds') from error


async def _read_body(receive, limits: Limits) -> bytes:
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


async def picture_of(scope: dict, body: bytes, limits: Limits, urls: str) -> bytes:
    """The bytes of the picture that a request holds or names.

    Args:
        scope: Of ASGI, for the headers.
        body: Of the request.
        limits: For pictures that are fetched.
        urls: Whether to fetch pictures from addresses that requests name: 'none', 'public' ones, or 'any'.

    Raises:
        Refusal: There is none.
    """
    if not body:
        raise Refusal(400, f'the request is empty, {EXPECTED}')
    kind = dict(scope['headers']).get(b'content-type', b'').decode('latin-1').split(';')[0].strip().lower()
    if kind.startswith('image/') or kind in ('application/octet-stream', ''):
        return body
    if kind == 'application/json':
        return await _of_json(body, limits, urls)
    if kind == 'multipart/form-data':
        return await _of_form(scope, body)
    raise Refusal(415, f'the Content-Type is {kind!r}, {EXPECTED}')


async def _of_json(body: bytes, limits: Limits, urls: str) -> bytes:
    try:
        entries = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f'the request is no JSON: {str(error)[:100]}') from error
    if not isinstance(entries, dict) or not ({'image', 'url'} & set(entries)):
        raise Refusal(400, 'the JSON must be an object with "image", a text of base64')
    if 'image' in entries:
        return _decoded(entries['image'])
    if urls == 'none':
        raise Refusal(403, 'this server fetches no URLs: send the picture itself, or start it with --allow-url')
    return await run_in_threadpool(fetch, entries['url'], limits, urls == 'any')


def _decoded(text) -> bytes:
    if not isinstance(text, str):
        raise Refusal(400, f'"image" must be a text of base64, got {type(text).__name__}')
    if text.startswith('data:'):
        text = text.partition(',')[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, f'"image" is no base64: {error}') from error


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
