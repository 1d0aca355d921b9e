"""Data loaders from configs whose settings may contradict each other."""

import difflib
import inspect
from collections.abc import Callable
from multiprocessing import get_all_start_methods
from numbers import Integral, Real

from torch.utils.data import DataLoader

from mmdetlike.errors import ConfigError
from mmdetlike.registry import FUNCTIONS

from .progress import is_endless

# of mmengine, beside torch's own
ADDED = ('num_batch_per_epoch', 'disable_subprocess_warning')
# of worker processes, which torch refuses where there are none
OF_WORKERS = ('persistent_workers', 'prefetch_factor', 'multiprocessing_context', 'timeout')


def _is_switch(value) -> bool:
    return isinstance(value, bool) or (isinstance(value, Integral) and value in (0, 1))


def _is_start_method(value) -> bool:
    return value is None or not isinstance(value, str) or value in get_all_start_methods()


def _is_prefetch(value) -> bool:
    return value is None or (isinstance(value, Integral) and value >= 1)


# what torch would find out in the middle of starting worker processes, or never; expected value and whether it is one
EXPECTED: dict[str, tuple[str, Callable[[object], bool]]] = {
    **dict.fromkeys(('drop_last', 'persistent_workers', 'pin_memory'), ('True or False', _is_switch)),
    'multiprocessing_context': (f'one of {get_all_start_methods()}', _is_start_method),
    'prefetch_factor': ('a whole number of at least 1, or None', _is_prefetch),
    'timeout': ('a number of seconds, at least 0', lambda value: isinstance(value, Real) and value >= 0),
}


def consistent_settings(dataloader: dict) -> dict:
    """The settings without those of worker processes where there are none.

    Raises:
        ConfigError: One is unknown, for which the message names the closest, or has a value that is none.
    """
    accepted = [name for name in inspect.signature(DataLoader.__init__).parameters if name != 'self'] + list(ADDED)
    for name in dataloader:
        if name not in accepted:
            close = difflib.get_close_matches(name, accepted, n=1, cutoff=0.4)
            hint = f'; did you mean {close[0]!r}?' if close else f', which are {", ".join(accepted)}'
            raise ConfigError(f'{name!r} is not an argument of a dataloader{hint}', cfg=dataloader)
        expected, holds = EXPECTED.get(name, ('', lambda _: True))
        if not holds(dataloader[name]):
            raise ConfigError(f'{name}={dataloader[name]!r}: expected {expected}', cfg=dataloader)
    collate = dataloader.get('collate_fn')
    if isinstance(collate, dict) and FUNCTIONS.get(collate.get('type')) is None:
        raise ConfigError(f"collate_fn: type={collate.get('type')!r} is not in the 'function' registry", cfg=dataloader)
    if 'shuffle' in dataloader and dataloader.get('sampler') is not None:
        raise ConfigError(
            f'shuffle={dataloader["shuffle"]!r}: the order is that of the sampler; set '
            f"sampler=dict(type='DefaultSampler', shuffle={dataloader['shuffle']!r})",
            cfg=dataloader,
        )
    if dataloader.get('num_workers', 0) == 0:
        return {name: value for name, value in dataloader.items() if name not in OF_WORKERS}
    return dict(dataloader)


def refuse_empty(dataloader) -> None:
    """Stop where an epoch has no batch.

    Raises:
        ConfigError: It has none.
    """
    batch_sampler = dataloader.batch_sampler
    if len(dataloader) == 0 and not is_endless(dataloader):
        raise ConfigError(
            f'train_dataloader: batch_size={batch_sampler.batch_size} with drop_last=True leaves no batch of the '
            f'{len(batch_sampler.sampler)} samples that a process has: choose a smaller batch_size or drop_last=False'
        )


def refuse_endless(dataloader, key: str, because: str) -> None:
    """Stop where all samples are to be seen and the sampler has no end.

    Args:
        dataloader: The dataloader.
        key: Its key in the config.
        because: Why it must end, and what else to use.

    Raises:
        ConfigError: The sampler is endless.
    """
    if is_endless(dataloader):
        name = type(dataloader.batch_sampler.sampler).__name__
        raise ConfigError(f'{key}.sampler: {name} never ends, but {because}')


def refuse_other_batch_size(dataloader) -> None:
    """Stop where the sampler makes up batches, of another size than those of the dataloader.

    Raises:
        ConfigError: It does.
    """
    batch_size = dataloader.batch_sampler.batch_size
    sampler = dataloader.batch_sampler.sampler
    wanted = getattr(sampler, 'batch_size', batch_size)
    if wanted != batch_size:
        raise ConfigError(
            f'train_dataloader.sampler: {type(sampler).__name__} makes batches of batch_size={wanted}, but '
            f'train_dataloader has batch_size={batch_size}; give both the same'
        )
