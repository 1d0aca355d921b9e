"""Arguments of dataloaders, which mmengine hands to torch as they are."""

import inspect

from torch.utils.data import DataLoader

from mmdetlike.errors import ConfigError

from .names import did_you_mean

# of mmengine, beside torch's own
ADDED = ('num_batch_per_epoch', 'disable_subprocess_warning', '_scope_')
# of worker processes, which torch refuses where there are none
OF_WORKERS = ('persistent_workers', 'prefetch_factor', 'multiprocessing_context', 'timeout')


def check_loader(loader: dict) -> None:
    """Check that all arguments of a dataloader are such.

    Args:
        loader: Its config.

    Raises:
        ConfigError: One is unknown, and the message names the closest; or there is no dataset.
    """
    accepted = [*inspect.signature(DataLoader).parameters, *ADDED]
    for argument in loader:
        if argument not in accepted:
            hint = did_you_mean(argument, accepted)
            raise ConfigError(f'{argument!r} is not an argument of a dataloader; {hint}', cfg=loader)
    if loader.get('dataset') is None:
        raise ConfigError(f'the dataloader has no dataset; it has {", ".join(loader)}', cfg=loader)


def without_worker_settings(loader: dict) -> dict:
    """The config of a dataloader, without what only worker processes use where there are none."""
    if loader.get('num_workers', 0) > 0:
        return dict(loader)
    return {argument: value for argument, value in loader.items() if argument not in OF_WORKERS}
