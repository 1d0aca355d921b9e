"""Differences between the settings of a resumed run and those that its checkpoint was trained with."""

import itertools
import shlex
from collections.abc import Iterable
from typing import NamedTuple

from mmdetlike.utils.stored_config import parse_config

from .progress import Division

COMPARED = (
    'optim_wrapper',
    'param_scheduler',
    'auto_scale_lr',
    'train_cfg',
    'train_dataloader',
    'custom_hooks',
    'randomness',
)
# how the data is loaded, not what is loaded
IGNORED = tuple(
    f'train_dataloader.{key}' for key in ('num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory')
)
# what learning rates follow from, directly or because schedules end with the training
OPTIMIZATION = ('optim_wrapper', 'param_scheduler', 'auto_scale_lr')
LENGTHS = ('train_cfg.type', 'train_cfg.max_epochs', 'train_cfg.max_iters')
SEED = 'randomness.seed'
CLASSES = 'classes of the training set'
DIVISION = dict(
    processes='processes', dataset_size='samples of the training set', epoch_length='batches of an epoch, each process'
)
# facts that no single key of the config sets
FACTS = (CLASSES, *DIVISION.values())


class Difference(NamedTuple):
    """A setting whose stored and given values differ; None where it isn't set."""

    key: str
    stored: object
    given: object

    def __str__(self) -> str:
        text = f'{self.key}: stored {_short(self.stored)}, given {_short(self.given)}; '
        if self.key == SEED:
            return f'{text}the stored one holds (for another, start a new run with load_from and without --resume)'
        if self.key in FACTS:
            return f'{text}the given one holds'
        return f'{text}the given one holds ({self._way_back()})'

    def _way_back(self) -> str:
        """The advice, as part of a sentence, how to train on with the stored value."""
        if self.stored is None:
            return 'leave it out for the default, as before'
        if _short(self.stored) != repr(self.stored):
            return 'the stored one is in the copy of the config in the folder of that run'
        option = shlex.quote(f'{self.key}={self.stored!r}')
        return f'for the stored one: --cfg-options {option}'

    def concerns(self, *keys: str) -> bool:
        """Whether it lies at or below one of these keys."""
        return any(self.key == key or self.key.startswith(f'{key}.') for key in keys)


def _short(value, limit: int = 100) -> str:
    text = repr(value) if value is not None else 'nothing'
    return text if len(text) <= limit else f'{text[:limit]}...'


def find_differences(stored, given, key: str = '') -> Iterable[Difference]:
    """The differences of two config values, by dotted key; a key that is absent counts as None, a tuple as a list."""
    stored, given = (list(value) if isinstance(value, tuple) else value for value in (stored, given))
    if isinstance(stored, dict) and isinstance(given, dict):
        pairs = {name: (stored.get(name), given.get(name)) for name in {**stored, **given}}
    elif isinstance(stored, list) and isinstance(given, list) and len(stored) == len(given):
        pairs = dict(enumerate(zip(stored, given)))
    else:
        # by their text, as arrays and nan don't say whether they are equal
        return [] if repr(stored) == repr(given) else [Difference(key, stored, given)]
    paths = ((f'{key}.{name}' if key else str(name), pair) for name, pair in pairs.items())
    return itertools.chain.from_iterable(find_differences(*pair, path) for path, pair in paths)


def compare_configs(stored: str | None, given: str) -> list[Difference] | None:
    """The differences, as far as they concern a resumed run, of two configs' texts; None if they can't be compared."""
    if not isinstance(stored, str):
        return None
    try:
        values = [parse_config(text) for text in (stored, given)]
    except (SyntaxError, ValueError):
        return None
    sections = ({key: config.get(key) for key in COMPARED} for config in values)
    return [difference for difference in find_differences(*sections) if not difference.concerns(*IGNORED)]


def compare_divisions(stored: Division | None, given: Division) -> list[Difference]:
    """The differences in how the data is divided into batches; the batch size is compared with the config."""
    if stored is None:
        return []
    pairs = {text: (getattr(stored, name), getattr(given, name)) for name, text in DIVISION.items()}
    return [Difference(text, *pair) for text, pair in pairs.items() if pair[0] != pair[1]]


def compare_classes(stored: dict | None, given: dict | None) -> list[Difference]:
    """Whether the names of classes are others, or in another order; nothing if one of the two isn't known."""
    names = [list((metainfo or {}).get('classes') or ()) for metainfo in (stored, given)]
    return [Difference(CLASSES, *names)] if all(names) and names[0] != names[1] else []


def stored_batch_size(text: str | None) -> int | None:
    """The batch size that a config's text names, None if it doesn't."""
    try:
        return parse_config(text)['train_dataloader'].get('batch_size')
    except (SyntaxError, ValueError, TypeError, KeyError, AttributeError):
        return None
