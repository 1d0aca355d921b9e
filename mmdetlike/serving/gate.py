"""What stands before the detector: refuses what it can't take, and answers what needs no detector."""

import base64
import json
from pathlib import Path

from mmdetlike.serving.limits import Limits, Refusal
from mmdetlike.serving.requests import picture_of, read_body

PREDICT = '/predict'
HEALTH = '/health'
METHODS = {'/': 'GET', '/classes': 'GET', HEALTH: 'GET', PREDICT: 'POST'}
TIMED_OUT = 504
PAGE = Path(__file__).with_name('page.html')


class Gate:
    """An ASGI application before another one, which gets pictures alone: JSON with ``image``, base64.

    Args:
        app: Answers ``PREDICT``: a JSON object, with ``error`` and ``status`` if it is to be refused.
        limits: What is taken.
        classes: Names of the classes.
        urls: Whether to fetch pictures from addresses that requests name: 'none', 'public' ones, or 'any'.
    """

    def __init__(self, app, limits: Limits, classes: list[str], urls: str = 'none') -> None:
        self.app, self.limits, self.classes, self.urls = app, limits, classes, urls
        self.answering = 0

    async def __call__(self, scope: dict, receive, send) -> None:
        """Answer a request."""
        if scope['type'] == 'lifespan':
            await self.app(scope, receive, send)
        elif scope['type'] == 'http':
            await self.answer(scope, receive, send)
        # else a websocket, which the server closes when nothing is said

    async def answer(self, scope: dict, receive, send) -> None:
        """Answer a request of HTTP."""
        method, path = route = (scope['method'], scope['path'])
        if route == ('GET', '/'):
            await respond(send, 200, PAGE.read_bytes(), b'text/html; charset=utf-8')
        elif route == ('GET', '/classes'):
            await respond(send, 200, json.dumps(dict(classes=self.classes)).encode())
        elif route == ('POST', PREDICT):
            await self.predict(scope, receive, send)
        elif route == ('GET', HEALTH):
            await self.app(scope, receive, send)
        elif path in METHODS:
            await refuse(send, Refusal(405, f'{path} takes {METHODS[path]}, got {method}'))
        else:
            await refuse(send, Refusal(404, f'there is no {path[:100]} here: expected one of {", ".join(METHODS)}'))

    async def predict(self, scope: dict, receive, send) -> None:
        """Let the detector answer, or refuse."""
        try:
            if self.answering >= self.limits.count:
                raise Refusal(503, f'{self.answering} requests are waiting, the limit of this server: try again later')
            self.answering += 1
            try:
                body = await read_body(receive, self.limits)
                picture = await picture_of(scope, body, self.limits, self.urls)
                self.limits.check_picture(picture)
                await self.forward(picture, scope, receive, send)
            finally:
                self.answering -= 1
        except Refusal as refusal:
            await refuse(send, refusal)

    async def forward(self, picture: bytes, scope: dict, receive, send) -> None:
        """Hand a picture on, and its answer back, with the status that the answer asks for."""
        body = json.dumps(dict(image=base64.b64encode(picture).decode())).encode()
        headers = [(b'content-type', b'application/json'), (b'content-length', str(len(body)).encode())]
        messages = [dict(type='http.request', body=body, more_body=False)]
        answer = []

        async def receive_picture() -> dict:
            return messages.pop() if messages else await receive()

        async def keep(message: dict) -> None:
            answer.append(message)

        await self.app(dict(scope, headers=headers), receive_picture, keep)
        content = b''.join(message.get('body', b'') for message in answer[1:])
        if answer[0]['status'] == TIMED_OUT:
            limit = f'{self.limits.seconds:g} seconds, the limit of this server'
            raise Refusal(TIMED_OUT, f'the request waited for its turn for more than {limit}: try again later')
        await respond(send, *status_of(answer[0]['status'], content))


def status_of(status: int, content: bytes) -> tuple[int, bytes]:
    """The status and body of an answer of the detector's side."""
    if status >= 400:
        reason = json.loads(content).get('detail', 'the detector failed') if content[:1] == b'{' else 'it failed'
        return status, json.dumps(dict(error=str(reason))).encode()
    if content.startswith(b'{"error"'):
        entries = json.loads(content)
        return entries['status'], json.dumps(dict(error=entries['error'])).encode()
    return status, content


async def refuse(send, refusal: Refusal) -> None:
    """Tell why a request isn't served."""
    await respond(send, refusal.status, json.dumps(dict(error=refusal.sentence)).encode())


async def respond(send, status: int, content: bytes, kind: bytes = b'application/json') -> None:
    """Send a whole response, as ASGI has it."""
    headers = [(b'content-type', kind), (b'content-length', str(len(content)).encode())]
    await send(dict(type='http.response.start', status=status, headers=headers))
    await send(dict(type='http.response.body', body=content))
