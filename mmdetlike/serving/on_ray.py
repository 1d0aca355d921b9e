"""A detector on Ray Serve: several detectors, on one machine or a cluster, behind one gate; needs ``ray[serve]``."""

import asyncio
import json
import time
from dataclasses import dataclass

import ray
import torch
from ray import serve
from ray.exceptions import RayError
from starlette.requests import Request
from starlette.responses import Response

from mmdetlike.errors import ConfigError
from mmdetlike.serving.answers import Answers, decode
from mmdetlike.serving.gate import HEALTH, TIMED_OUT, Gate, respond
from mmdetlike.serving.limits import Limits
from mmdetlike.serving.termination import stop_when_terminated
from mmdetlike.utils.ray_cluster import check_room, connect

_NAME = 'mmdetlike'
_LOGS = '/tmp/ray/session_latest/logs/serve'


@dataclass(frozen=True)
class Placement:
    """Where detectors run.

    Attributes:
        address: Of a cluster, 'auto' for the one that this machine belongs to, '' for this machine alone.
        workers: Number of detectors.
        gpus: GPUs of each; 0 for the CPU.
        threads: Threads of each on a CPU.
    """

    address: str
    workers: int = 1
    gpus: float = 0
    threads: int = 1


class RayDetector:
    """A detector of its own process; requests that come at about the same time go through it together.

    Args:
        settings: Arguments of `Answers`.
        batch_size: Pictures that go through the detector at once.
        wait: Seconds for which a batch waits to become full.
        threads: Threads of PyTorch.
    """

    def __init__(self, settings: tuple, batch_size: int, wait: float, threads: int) -> None:
        torch.set_num_threads(threads)
        self.answers = Answers(*settings)
        self.answer.set_max_batch_size(batch_size)
        self.answer.set_batch_wait_timeout_s(wait)

    @serve.batch
    async def answer(self, images: list[str]) -> list[dict]:
        """What is answered to each picture, given as base64."""
        # in a thread: what answers requests must go on meanwhile
        return await asyncio.to_thread(self._predict, images)

    def _predict(self, images: list[str]) -> list[dict]:
        return self.answers.predict([decode(image) for image in images])


class RayGate:
    """What stands before the detectors; see `Gate`.

    Args:
        detector: Ray's handle of the detectors.
        limits: What is taken.
        classes: Names of the classes.
        urls: Whether to fetch pictures from addresses that requests name: 'none', 'public' ones, or 'any'.
    """

    def __init__(self, detector, limits: Limits, classes: list[str], urls: str) -> None:
        self.detector = detector
        self.seconds = limits.seconds
        self.gate = Gate(self.answer, limits, classes, urls)

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""
        sent = []

        async def keep(message: dict) -> None:
            sent.append(message)

        await self.gate(request.scope, request.receive, keep)
        headers = {key.decode(): value.decode() for key, value in sent[0]['headers']}
        return Response(sent[1]['body'], sent[0]['status'], headers)

    async def answer(self, scope: dict, receive, send) -> None:
        """What the gate lets through: a picture, or a question after the server's health."""
        if scope['path'] == HEALTH:
            await respond(send, 200, b'ok', b'text/plain')
        else:
            image = json.loads((await receive())['body'])['image']
            try:
                answer = await asyncio.wait_for(self.detector.answer.remote(image), self.seconds)
                await respond(send, 200, json.dumps(answer).encode())
            except asyncio.TimeoutError:
                await respond(send, TIMED_OUT, b'{}')  # the gate says it in words


def serve_on_ray(
    settings: tuple, batch_size: int, wait: float, gate: dict, host: str, port: int, placement: Placement
) -> None:
    """Serve until interrupted.

    Args:
        settings: Arguments of `Answers`.
        batch_size: Pictures that go through a detector at once.
        wait: Seconds for which a batch waits to become full.
        gate: ``limits``, ``classes`` and ``urls`` of `Gate`.
        host: Address to listen at.
        port: Port to listen at.
        placement: Where detectors run.

    Raises:
        ConfigError: There is no such cluster, the detectors don't fit into it, or Ray cannot start them.
    """
    connect(ray, placement.address)
    check_room(ray, placement.address, placement.workers, placement.gpus)
    try:
        _start(settings, batch_size, wait, gate, (host, port), placement)
    except (RayError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f'Ray Serve cannot be started: {reason} (see {_LOGS} on the machines)') from error
    stop_when_terminated()  # after Ray has set a handler of its own, which aborts
    print(f'serving at http://{host}:{port}/', flush=True)
    try:
        while True:
            time.sleep(3600)
    finally:
        serve.delete(_NAME)
        if not placement.address:
            serve.shutdown()
            ray.shutdown()


def _start(
    settings: tuple, batch_size: int, wait: float, gate: dict, listen: tuple[str, int], placement: Placement
) -> None:
    """Start the gate and the detectors, once Ray is connected."""
    host, port = listen
    serve.start(http_options=dict(host=host, port=port))
    # more than the gate lets in, so that it is the gate that refuses
    most = gate['limits'].count + 100
    resources = dict(num_cpus=0 if placement.gpus else 1, num_gpus=placement.gpus)
    detectors = serve.deployment(RayDetector).options(
        num_replicas=placement.workers, ray_actor_options=resources, max_ongoing_requests=2 * batch_size
    )
    front = serve.deployment(RayGate).options(max_ongoing_requests=most, ray_actor_options=dict(num_cpus=0))
    detector = detectors.bind(settings, batch_size, wait, placement.threads)
    serve.run(front.bind(detector, **gate), name=_NAME, route_prefix='/')
