"""Checks of dataloaders' arguments, which mmengine hands to torch as they are."""

import inspect
from multiprocessing import get_all_start_methods
from numbers import Integral, Real

from torch.utils.data import DataLoader

from mmdetlike.errors import ConfigError
from mmdetlike.registry import FUNCTIONS

from .names import did_you_mean
from .rules import Rule

# of mmengine, beside torch's own
ADDED = ('num_batch_per_epoch', 'disable_subprocess_warning', '_scope_')
# of worker processes, which torch refuses where there are none
OF_WORKERS = ('persistent_workers', 'prefetch_factor', 'multiprocessing_context', 'timeout')


def _is_switch(value) -> bool:
    return isinstance(value, bool) or (isinstance(value, Integral) and value in (0, 1))


def _is_start_method(value) -> bool:
    return value is None or not isinstance(value, str) or value in get_all_start_methods()


def _is_prefetch(value) -> bool:
    return value is None or (isinstance(value, Integral) and value >= 1)


# what torch would find out in the middle of starting worker processes, or never
RULES = {
    **dict.fromkeys(('drop_last', 'persistent_workers', 'pin_memory'), Rule('True or False', _is_switch)),
    'multiprocessing_context': Rule(f'one of {get_all_start_methods()}', _is_start_method),
    'prefetch_factor': Rule('a whole number of at least 1, or None', _is_prefetch),
    'timeout': Rule('a number of seconds, at least 0', lambda value: isinstance(value, Real) and value >= 0),
}


def check_loader(loader: dict) -> None:
    """Check the arguments of a dataloader.

    Args:
        loader: Its config.

    Raises:
        ConfigError: One is unknown, for which the message names the closest, or has a value that is none; or there is
            no dataset.
    """
    accepted = [*inspect.signature(DataLoader).parameters, *ADDED]
    for argument in loader:
        if argument not in accepted:
            hint = did_you_mean(argument, accepted)
            raise ConfigError(f'{argument!r} is not an argument of a dataloader; {hint}', cfg=loader)
        rule = RULES.get(argument)
        if rule is not None and not rule.holds(loader[argument]):
            raise ConfigError(f'{argument}={loader[argument]!r}: it should be {rule.expected}', cfg=loader)
    collate = loader.get('collate_fn')
    if isinstance(collate, dict) and FUNCTIONS.get(str(collate.get('type'))) is None:
        raise ConfigError(f"collate_fn: type={collate.get('type')!r} is not in the 'function' registry", cfg=loader)
    if 'shuffle' in loader and loader.get('sampler') is not None:
        raise ConfigError(
            f'shuffle={loader["shuffle"]!r}: the order is that of the sampler; set '
            f"sampler=dict(type='DefaultSampler', shuffle={loader['shuffle']!r})",
            cfg=loader,
        )
    if loader.get('dataset') is None:
        raise ConfigError(f'the dataloader has no dataset; it has {", ".join(loader)}', cfg=loader)


def without_worker_settings(loader: dict) -> dict:
    """The config of a dataloader, without what only worker processes use where there are none."""
    if loader.get('num_workers', 0) > 0:
        return dict(loader)
    return {argument: value for argument, value in loader.items() if argument not in OF_WORKERS}
