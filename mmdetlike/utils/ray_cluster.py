"""A Ray cluster: connecting to one, and whether workers fit into it."""

import logging
import socket

from mmdetlike.errors import ConfigError

_SECONDS = 10  # to wait for a machine that may be there


def connect(ray, address: str | None) -> None:
    """Connect to a cluster, or start one on this machine.

    Args:
        ray: The module, which only those import who need it.
        address: Of the cluster, 'auto' for the one that this machine belongs to; None or '' to start one.

    Raises:
        ConfigError: There is no such cluster.
    """
    try:
        _check_reachable(address)
        # 'local', not None, for which Ray joins whatever cluster runs on this machine
        ray.init(address or 'local', log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f'there is no Ray cluster at {address!r}: start one by `ray start --head`, or leave the address out to use '
            f'this machine ({reason})'
        ) from error


def _check_reachable(address: str | None) -> None:
    """Raise an OSError if nothing listens at host:port, for which Ray waits many minutes."""
    host, _, port = (address or '').removeprefix('ray://').rpartition(':')
    if host and port.isdigit():
        socket.create_connection((host.strip('[]'), int(port)), _SECONDS).close()


def check_room(ray, address: str | None, workers: int, gpus: float) -> None:
    """Refuse workers for which Ray would wait without end: those that don't fit into a cluster.

    A cluster elsewhere may grow, so there it is enough that it has GPUs if workers need them.

    Args:
        ray: The module, connected.
        address: As of `connect`.
        workers: Processes at a time.
        gpus: Of each; 0 for a core of the CPU.

    Raises:
        ConfigError: They don't fit.
    """
    there = ray.cluster_resources()
    kind, each = ('GPU', gpus) if gpus else ('CPU', 1)
    number = there.get(kind, 0)
    if number < each or (not address and number < each * workers):
        raise ConfigError(
            f'{workers} workers with {each:g} {kind} each were asked for, but the '
            f'{"cluster" if address else "machine"} has {number:g} {kind}'
        )
