"""The progress of a run, counted in samples so that it can resume with another batch size or number of processes."""

import math
from dataclasses import asdict, dataclass, fields

from mmengine.dist import get_world_size
from torch.utils.data import BatchSampler

META_KEY = 'progress'


@dataclass(frozen=True)
class Position:
    """A position within the data of a training.

    Attributes:
        epoch: Whole passes through the data.
        batches: Batches of each process since then.
        samples: Samples of all processes since then.
    """

    epoch: int
    batches: int
    samples: int


@dataclass(frozen=True)
class Division:
    """The division of a pass through the data into batches.

    Attributes:
        epoch_length: Batches of a pass, of each process.
        batch_size: Samples of a batch, of each process.
        samples_each: Samples of a pass, of each process.
        processes: Processes that read at the same time.
        dataset_size: Samples of the dataset.
    """

    epoch_length: int
    batch_size: int
    samples_each: int
    processes: int
    dataset_size: int

    @classmethod
    def of(cls, dataloader) -> 'Division':
        """The division by a dataloader of this process and its like in the others."""
        batch_sampler = dataloader.batch_sampler
        sizes = (len(dataloader), batch_sampler.batch_size, len(batch_sampler.sampler))
        return cls(*sizes, get_world_size(), len(dataloader.dataset))


def describe(position: Position, division: Division) -> dict[str, int]:
    """Progress as a checkpoint's ``meta`` stores it."""
    return {**asdict(position), **asdict(division)}


def is_endless(dataloader) -> bool:
    """Whether the sampler goes on without end, as for training by iterations."""
    return getattr(dataloader.batch_sampler.sampler, 'endless', False)


def advance(position: Position, batches: int, dataloader) -> Position:
    """The position after some more batches of the same pass, of which the last may be a small one."""
    now = Division.of(dataloader)
    samples = position.samples + batches * now.batch_size * now.processes
    if not is_endless(dataloader):
        samples = min(samples, now.samples_each * now.processes)
    return Position(position.epoch, position.batches + batches, samples)


def stored_progress(checkpoint: dict, by_epoch: bool, dataloader, batch_size: int | None):
    """Read from a checkpoint the position of its run in the data, and how the data was divided.

    Args:
        checkpoint: Its ``meta`` and ``message_hub``.
        by_epoch: Whether the run counts epochs, not iterations alone.
        dataloader: The batches of the run that goes on.
        batch_size: That of the checkpoint's config, for checkpoints that say nothing about progress themselves.

    Returns:
        Position and division; the latter is None where the checkpoint, written by mmengine alone, doesn't tell it.
    """
    stored = checkpoint['meta'].get(META_KEY)
    if stored is not None:
        return tuple(
            kind(**{field.name: stored[field.name] for field in fields(kind)}) for kind in (Position, Division)
        )
    now = Division.of(dataloader)
    if not by_epoch:
        epoch = 0
        batches = checkpoint['meta']['iter']
        epoch_length = now.epoch_length
        if not is_endless(dataloader):
            epoch, batches = divmod(batches, epoch_length)
    else:
        epoch, batches, epoch_length = _epochs_by_mmengine(checkpoint, now.epoch_length)
    same = epoch_length == now.epoch_length and batch_size in (None, now.batch_size)
    return advance(Position(epoch, 0, 0), batches, dataloader), now if same else None


def _epochs_by_mmengine(checkpoint: dict, default_length: int) -> tuple[int, int, int]:
    """Epochs, batches of the next one and batches of an epoch, by what mmengine notes in a checkpoint."""
    meta = checkpoint['meta']
    notes = checkpoint['message_hub'].get('runtime_info', {})
    epoch_length = notes.get('max_iters', 0) // max(notes.get('max_epochs', 1), 1) or default_length
    # the epoch is noted when it begins: a checkpoint that counts one more was written after its end
    if notes.get('epoch', meta['epoch']) < meta['epoch']:
        return meta['epoch'], 0, epoch_length
    return meta['epoch'], meta['iter'] - meta['epoch'] * epoch_length, epoch_length


def place(position: Position, before: Division | None, dataloader) -> tuple[Position, str]:
    """Translate a position to data that may now be divided into other batches.

    Args:
        position: Where the former run stood.
        before: How its data was divided, None if that isn't known.
        dataloader: The batches of the run that goes on.

    Returns:
        The position, and why it isn't the former one where the epoch has to begin anew.
    """
    # An epoch goes on where it stood if all samples seen can be skipped; otherwise it begins anew.
    now = Division.of(dataloader)
    if before == now or position.samples == 0 or is_endless(dataloader):
        return position, ''
    if before is not None and position.batches >= before.epoch_length:
        return advance(Position(position.epoch, 0, 0), now.epoch_length, dataloader), ''
    reason = _why_not_to_continue(before, now, dataloader)
    if reason:
        return Position(position.epoch, 0, 0), reason
    seen_by_each = position.samples // now.processes
    left = max(now.samples_each - seen_by_each, 0) / now.batch_size
    batches_left = math.floor(left) if dataloader.batch_sampler.drop_last else math.ceil(left)
    return Position(position.epoch, now.epoch_length - batches_left, seen_by_each * now.processes), ''


def _why_not_to_continue(before: Division | None, now: Division, dataloader) -> str:
    if before is None:
        return 'the checkpoint does not tell which samples of the epoch its run had seen'
    if before.dataset_size != now.dataset_size:
        return f'the training set has {now.dataset_size} samples, the one of the checkpoint had {before.dataset_size}'
    batch_sampler = dataloader.batch_sampler
    if type(batch_sampler) is not BatchSampler:
        return f'{type(batch_sampler).__name__} makes other batches of other sizes'
    if not hasattr(batch_sampler.sampler, 'skip'):
        return f'{type(batch_sampler.sampler).__name__} cannot skip samples'
    return ''
