"""How a detector hands its settings to its parts, and takes checkpoints of its relatives."""

import functools
from collections.abc import Callable


def with_cfgs(head: dict, train_cfg: dict | None, test_cfg: dict | None, part: str | None = None) -> dict:
    """The config of a head with ``train_cfg`` and ``test_cfg`` added, of which ``part`` is meant where it is named."""
    if part is not None:
        train_cfg, test_cfg = (cfg[part] if cfg is not None and part in cfg else None for cfg in (train_cfg, test_cfg))
    return dict(head, train_cfg=train_cfg, test_cfg=test_cfg)


def rename_keys(old: str, new: str) -> Callable:
    """A ``load_state_dict`` pre-hook that renames keys beginning with ``old`` where there are none with ``new``."""
    return functools.partial(_rename, old, new)  # a closure could not be pickled with its model


def _rename(old: str, new: str, module, state_dict: dict, prefix: str, *args) -> None:
    if any(key.startswith(prefix + new) for key in state_dict):
        return
    for key in [key for key in state_dict if key.startswith(prefix + old)]:
        state_dict[prefix + new + key[len(prefix + old) :]] = state_dict.pop(key)
