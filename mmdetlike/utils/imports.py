"""Imports that take long: what makes them shorter. Nothing heavy is imported here."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def resting_collector() -> Iterator[None]:
    """Within this context the garbage collector rests, unless it does anyway.

    Modules are made of objects that stay: looking through them again and again is a third of the time of an import.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
