"""What the user's mistakes have in common."""

import re


class UserError(Exception):
    """Something is wrong with what the user gave; the message says what, in a sentence that needs no traceback.

    One that a worker process of a data loader raised has the same message in the main process.
    """

    def __init__(self, message: str = '', *args) -> None:
        super().__init__(_without_traceback(message, type(self).__name__), *args)


def _without_traceback(message: str, name: str) -> str:
    """What an error said before torch put the traceback of a worker process before it."""
    if not re.match(rf'Caught {name} in (DataLoader|pin memory)', str(message)):
        return message
    return re.split(rf'^(?:[\w.]+\.)?{name}: ', message, flags=re.MULTILINE)[-1].strip()


class ConfigError(UserError, ValueError):
    """A config that cannot be built.

    ``cfg`` is the offending dict and ``unknown_type`` a type that isn't registered, where these are known, so that a
    caller can say where they stand. ``enclosing`` are the dicts that were being built around ``cfg``, the innermost
    first. ``is_located`` tells that the message names the file.
    """

    def __init__(self, message: str, cfg: dict | None = None, unknown_type: str | None = None) -> None:
        super().__init__(message)
        self.cfg, self.unknown_type = cfg, unknown_type
        self.enclosing: list[dict] = []
        self.is_located = False


class CheckpointError(UserError, RuntimeError):
    """A checkpoint that can't be read, written or trusted, or that belongs to another model."""
