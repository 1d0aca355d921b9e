"""Work that threads do ahead of the one who waits for its results, or behind."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

Given = TypeVar('Given')
Made = TypeVar('Made')
_END = object()


def map_ahead(
    function: Callable[[Given], Made], items: Iterable[Given], ahead: int, threads: int = 1, finish: bool = False
) -> Iterator[Made]:
    """The results of a function in the order of its items, computed by threads while earlier ones are used.

    Items are taken, in the thread of the caller, no faster than results are: memory doesn't grow with their number.
    What the function raises is raised in place of its result. Close the generator (``contextlib.closing``): threads
    have ended then.

    Args:
        function: Called with an item, in a thread.
        items: Of any number.
        ahead: Results that are computed beyond the one that is waited for; 0 to compute none.
        threads: That compute them.
        finish: When the generator is closed early, call the function of all items that were taken; else those whose
            turn hasn't come are dropped.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix=f'mmdetlike-{getattr(function, "__name__", "ahead")}') as pool:
        pending: deque[Future] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # also when the caller is interrupted, or an item or a result raises
            pool.shutdown(wait=True, cancel_futures=not finish)


def iterate_ahead(items: Iterable[Given], ahead: int) -> Iterator[Given]:
    """The items of an iterable, which a thread takes from it ahead of their use; close it as ``map_ahead``."""
    iterator = iter(items)

    def take(_: None):
        return next(iterator, _END)

    with closing(map_ahead(take, itertools.repeat(None), ahead)) as taken:
        for item in taken:
            if item is _END:
                return
            yield item
