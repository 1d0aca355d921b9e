"""Checks of data loaders whose settings contradict each other."""

from mmdetlike.errors import ConfigError

from .progress import is_endless


def refuse_empty(dataloader) -> None:
    """Refuse a dataloader whose epoch has no batch.

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
    """Refuse an endless sampler where a pass through the data has to end.

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
    """Refuse a sampler that composes batches of another size than the dataloader's.

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
