"""Going on from a checkpoint.

What the user writes now wins: state that training made (weights, momentum buffers, the position in the data and in the
schedules) is restored; settings are those of the given config, and each that differs is logged.
"""

import itertools
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import print_log
from mmengine.optim import OptimWrapperDict

from mmdetlike.utils.checkpoint import CheckpointError, read_checkpoint

from .differences import LENGTHS, OPTIMIZATION, compare_classes, compare_configs, compare_divisions, stored_batch_size
from .progress import Division, place, stored_progress

# what a checkpoint must hold beside weights
REQUIRED = ('meta', 'message_hub')


def check_readable(source: str | Path | None) -> None:
    """Look at a checkpoint file before anything is built; addresses, which take a download, are left for later.

    Raises:
        FileNotFoundError, CheckpointError: ``read_checkpoint`` would refuse it.
    """
    if source is not None and '://' not in str(source):
        read_checkpoint(source, map_location='meta')  # skips the data of tensors: some milliseconds


class FormerRun:
    """The run that wrote a checkpoint, compared with the run that goes on from it.

    Args:
        checkpoint: What the file holds.
        filename: The file, for messages.
        config_text: The config of the run that goes on.
        dataloader: Its batches.
        by_epoch: Whether it counts epochs, not iterations alone.

    Raises:
        CheckpointError: The file holds weights only, or the state of an optimizer of another type.
    """

    def __init__(self, checkpoint: dict, filename: str, config_text: str, dataloader, by_epoch: bool) -> None:
        missing = [key for key in REQUIRED if key not in checkpoint]
        missing += [key for key in ('epoch', 'iter') if key not in checkpoint.get('meta', ())]
        if missing:
            raise CheckpointError(
                f'{filename} has no {missing[0]!r}: it holds weights but not the state of a run. Use load_from without '
                '--resume to start a new run from it.'
            )
        self.checkpoint = checkpoint
        self.filename = filename
        self.meta = checkpoint['meta']
        text = self.meta.get('cfg')
        position, division = stored_progress(checkpoint, by_epoch, dataloader, stored_batch_size(text))
        now = Division.of(dataloader)
        self.position, self.anew_because = place(position, division, dataloader)
        self.settings = compare_configs(text, config_text)
        self.divided_alike = division == now
        classes = compare_classes(self.meta.get('dataset_meta'), getattr(dataloader.dataset, 'metainfo', None))
        self.differences = [*(self.settings or []), *compare_divisions(division, now), *classes]
        self._refuse_other_optimizer()

    def report(self) -> str:
        """The differences between the two runs, a line each; empty if there are none."""
        lines = [f'    {difference}' for difference in self.differences]
        if self.settings is None:
            lines.append('    it does not hold the config of its run as plain text: all settings are those given now')
        if self.anew_because:
            lines.append(f'    epoch {self.position.epoch + 1} begins anew: {self.anew_because}')
        return '\n'.join([f'resuming {self.filename}, which was trained with other settings:', *lines]) if lines else ''

    def _differs_in(self, *keys: str) -> bool:
        return self.settings is None or any(difference.concerns(*keys) for difference in self.settings)

    def _refuse_other_optimizer(self) -> None:
        """Refuse the state of an optimizer of another type, which has other buffers or none."""
        for difference in self.settings or []:
            if difference.key.startswith('optim_wrapper.') and difference.key.endswith('optimizer.type'):
                raise CheckpointError(
                    f'{self.filename} holds the state of optimizer {difference.stored!r}, but the config says '
                    f'{difference.key}={difference.given!r}, which cannot go on from it: keep {difference.stored!r}, '
                    f'or start a new run from the weights with load_from={self.filename!r}, without --resume, in '
                    'another work folder'
                )

    @property
    def steps_alike(self) -> bool:
        """Whether the optimizer would step as in the former run: with the same learning rates and other settings."""
        return self.divided_alike and not self._differs_in(*OPTIMIZATION, *LENGTHS)

    def restore_optimizer(self, optim_wrapper) -> None:
        """Restore the state of the optimizer, and its settings where they are the same.

        Raises:
            CheckpointError: The state is that of other parameters.
        """
        stored = self.checkpoint.get('optimizer')
        if stored is None:
            print_log(
                f'{self.filename} holds no state of the optimizer, as best_*.pth do: momentum starts anew',
                'current',
                logging.WARNING,
            )
        elif self.steps_alike:
            optim_wrapper.load_state_dict(_without_empty_scaler(stored))
        elif isinstance(optim_wrapper, OptimWrapperDict):
            for name, wrapper in optim_wrapper.items():
                restore_optimizer_state(wrapper, _without_empty_scaler(stored[name]), self.filename)
        else:
            restore_optimizer_state(optim_wrapper, _without_empty_scaler(stored), self.filename)

    def restore_schedules(self, param_schedulers, epoch_length: int, by_epoch: bool, iteration: int) -> None:
        """Bring schedules to where they were: by their stored state or, where settings differ, by replaying the steps.

        Args:
            param_schedulers: A list, or one for each of several optimizers.
            epoch_length: Batches of an epoch.
            by_epoch: Whether the run counts epochs.
            iteration: The iteration, for runs that don't.

        Raises:
            CheckpointError: A schedule that follows scores can't be brought there.
        """
        stored = self.checkpoint.get('param_schedulers')
        epochs = self.position.epoch if by_epoch else 0
        batches = self.position.batches if by_epoch else iteration
        named = isinstance(param_schedulers, dict)
        for name, schedulers in param_schedulers.items() if named else [(None, param_schedulers)]:
            follows_scores = any(getattr(scheduler, 'need_val_args', False) for scheduler in schedulers)
            same = not self._differs_in(*OPTIMIZATION) if follows_scores else self.steps_alike
            if stored is not None and same:
                load_schedules(schedulers, stored[name] if named else stored)
            else:
                replay_schedules(schedulers, epochs, epoch_length, batches)


def _without_empty_scaler(stored: dict) -> dict:
    """Optimizer state without the empty state of a loss scaler that was off, which torch stores but refuses to load."""
    return {key: value for key, value in stored.items() if key != 'loss_scaler' or value}


def restore_optimizer_state(optim_wrapper, stored: dict, filename: str) -> None:
    """Restore what the optimizer keeps of each parameter, such as momentum; its settings stay as they were built.

    Raises:
        CheckpointError: The parameters are others.
    """
    own = optim_wrapper.optimizer.state_dict()['param_groups']
    if [len(group['params']) for group in own] != [len(group['params']) for group in stored['param_groups']]:
        _check_shapes(own, optim_wrapper.optimizer.param_groups, stored, filename)
    settings = ('param_groups', 'base_param_settings')
    state = {key: value for key, value in stored.items() if key not in settings}
    optim_wrapper.load_state_dict({**state, 'param_groups': own})


def _check_shapes(own: list[dict], groups: list[dict], stored: dict, filename: str) -> None:
    """Refuse state that doesn't fit: it is stored by a parameter's number, and other groups may number otherwise."""
    parameters = list(itertools.chain.from_iterable(group['params'] for group in groups))
    count = sum(len(group['params']) for group in stored['param_groups'])
    fits = count == len(parameters) and all(
        value.numel() == 1 or value.shape == parameters[number].shape
        for number, state in stored['state'].items()
        for value in state.values()
        if hasattr(value, 'shape')
    )
    if not fits:
        raise CheckpointError(
            f'{filename} holds optimizer state of {count} parameters that are not the {len(parameters)} of '
            'optim_wrapper, or in another order: keep optim_wrapper.constructor and paramwise_cfg as they were, or '
            f'start a new run with load_from={filename!r}, without --resume'
        )


def load_schedules(schedulers: Sequence, stored: Sequence[dict]) -> None:
    """Restore schedules whose settings are the stored ones, except for their end, which follows this run's length."""
    for scheduler, state in zip(schedulers, stored):
        end = scheduler.end
        scheduler.load_state_dict(state)
        scheduler.end = end


def replay_schedules(schedulers: Sequence, epochs: int, epoch_length: int, batches: int) -> None:
    """Bring new schedules to where they would be after some epochs and batches, in the order in which training does.

    Raises:
        CheckpointError: One of them follows scores.
    """
    for scheduler in schedulers:
        if getattr(scheduler, 'need_val_args', False):
            raise CheckpointError(
                f'{type(scheduler).__name__} follows the scores of past epochs, so it cannot go on with other settings '
                'of optim_wrapper, param_scheduler or auto_scale_lr: keep those of the checkpoint, or start a new run '
                'with load_from, without --resume'
            )
    by_epoch = [scheduler for scheduler in schedulers if scheduler.by_epoch]
    by_iteration = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    with warnings.catch_warnings():
        # the optimizer hasn't stepped: its steps were made by the former run
        warnings.filterwarnings('ignore', message='Detected call of `scheduler.step')
        for _ in range(epochs):
            _step(by_iteration, epoch_length)
            _step(by_epoch, 1)
        _step(by_iteration, batches)


def _step(schedulers: list, times: int) -> None:
    for _ in range(times if schedulers else 0):
        for scheduler in schedulers:
            scheduler.step()
