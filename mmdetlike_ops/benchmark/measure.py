"""Measuring the time of a case, and the speeds of the machine that bound it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Case:
    """A call to time: its name, the bytes and flops it needs at least, and the ratio it should reach.

    Args:
        name: What is computed, with its sizes.
        run: Computes it once.
        bytes: Bytes that must be read or written at least; 0 where unknown.
        flops: Floating-point operations that must be done at least; 0 where unknown.
        target: The most convolutions that it may take.
    """

    name: str
    run: Callable[[], object]
    bytes: float = 0
    flops: float = 0
    target: float | None = None

    @classmethod
    def of(cls, case: 'Case | tuple') -> 'Case':
        """`case` itself, or made from a tuple of the first of its fields."""
        return case if isinstance(case, cls) else cls(*case)


@dataclass(frozen=True)
class Machine:
    """Seconds of the convolution that is the unit, bytes per second of a copy, flops per second of a product."""

    convolution: float
    bandwidth: float
    flops: float


def best_time(run: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of `repeats` runs, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def measure_machine(device: torch.device, repeats: int) -> Machine:
    """Time the convolution, a copy of 256 MB, and a product of float32 matrices of 2048 (CUDA: 8192) rows."""
    x = torch.randn(2, 256, 50, 68, device=device)
    weight = torch.randn(256, 256, 3, 3, device=device)
    convolution = best_time(lambda: F.conv2d(x, weight, padding=1), 4 * repeats)
    source = torch.ones(2**26, device=device)
    target = torch.empty(2**26, device=device)
    copy = best_time(lambda: target.copy_(source), repeats)
    size = 8192 if device.type == 'cuda' else 2048
    a = torch.randn(size, size, device=device)
    b = torch.randn(size, size, device=device)
    product = best_time(lambda: a @ b, repeats)
    return Machine(convolution, 2 * 4 * 2**26 / copy, 2 * size**3 / product)


def measure(case: Case, machine: Machine, repeats: int) -> dict:
    """Time a case.

    Returns:
        Its name, seconds, ratio to the convolution, bytes, flops, share of the limit (None where neither is known) and
        what the limit is, target, and whether the target is met (None without one).
    """
    seconds = best_time(case.run, repeats)
    limits = {'bandwidth': case.bytes / machine.bandwidth, 'flops': case.flops / machine.flops}
    limit = max(limits, key=limits.get)
    known = limits[limit] > 0
    ratio = seconds / machine.convolution
    return {
        'name': case.name,
        'seconds': seconds,
        'ratio': ratio,
        'bytes': case.bytes,
        'flops': case.flops,
        'limit': limit if known else None,
        'share': limits[limit] / seconds if known else None,
        'target': case.target,
        'met': None if case.target is None else ratio <= case.target,
    }
