"""Python's garbage collector, kept out of the way."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Make many objects without looking for cycles among them.

    Each time that their number has grown by a quarter, the collector visits all of them: with millions of small dicts,
    as annotations are, that takes as long as the work itself. What has no cycles is freed as ever.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
