"""Messages that are logged a few times and then no more."""

import inspect
from collections import Counter

from mmengine.logging import print_log

_seen: Counter[tuple] = Counter()
KEYS = ('caller', 'message')


def log_first_n(
    level: int, message: str, n: int = 1, *, logger: str = 'current', key: str | tuple[str, ...] = 'caller'
) -> None:
    """Log a message only the first ``n`` times.

    Args:
        level: As of ``logging``.
        message: What to say.
        n: How often.
        logger: As of mmengine's ``print_log``.
        key: What counts as the same: the line that calls ('caller'), the text ('message'), or both.

    Raises:
        ValueError: ``key`` is something else.
    """
    keys = (key,) if isinstance(key, str) else tuple(key)
    if not keys or not set(keys) <= set(KEYS):
        raise ValueError(f'log_first_n: key={key!r}; expected caller, message, or both.')
    caller = inspect.currentframe().f_back
    parts = dict(caller=(caller.f_code.co_filename, caller.f_lineno), message=message)
    identity = tuple(parts[name] for name in keys)
    _seen[identity] += 1
    if _seen[identity] <= n:
        print_log(message, logger=logger, level=level)
