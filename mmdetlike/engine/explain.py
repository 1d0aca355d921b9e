"""Explanations of torch's errors that end a training, in words that help."""

import contextlib
import re
import traceback
from collections.abc import Iterator

from mmengine.model import is_model_wrapper
from torch import nn

from mmdetlike.errors import ConfigError, UserError

# what convolutions and linear layers say of an input with other channels than theirs
OTHER_CHANNELS = re.compile(r'expected input\[.*to have \d+ channels|mat1 and mat2 shapes cannot be multiplied')


class WorkerKilledError(UserError, RuntimeError):
    """A process that loads data ended before its time."""


@contextlib.contextmanager
def explained(runner) -> Iterator[None]:
    """Explain errors of a training.

    Raises:
        ConfigError: Torch's distributed wrapper waited for parameters in vain, or a layer is given other channels than
            it takes; the message names them.
        WorkerKilledError: A loading process was killed.
    """
    try:
        yield
    except RuntimeError as error:
        message = str(error)
        numbers = re.search(r'did not receive grad for rank \d+: ([\d ]+)', message)
        if numbers is not None:
            raise ConfigError(_unused_parameters(runner.model.module, numbers[1].split())) from error
        if re.match(r'DataLoader worker \(pid.*(killed by signal|exited unexpectedly)', message):
            raise WorkerKilledError(_killed_worker(message, runner.work_dir)) from error
        if OTHER_CHANNELS.search(message):
            raise ConfigError(_other_channels(runner.model, error)) from error
        raise


def _other_channels(model: nn.Module, error: RuntimeError) -> str:
    names = {module: name for name, module in (model.module if is_model_wrapper(model) else model).named_modules()}
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    owners = [frame.f_locals.get('self') for frame in frames]
    reached = [owner for owner in owners if isinstance(owner, nn.Module) and names.get(owner)]
    layer = f'{names[reached[-1]]}, {type(reached[-1]).__name__}' if reached else type(model).__name__
    return (
        f'model: {layer}, is given other channels than it takes ({error}): in_channels and out_channels of the parts '
        'of the model must go together, from the backbone by the neck to the heads'
    )


def _unused_parameters(model, numbers: list[str]) -> str:
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    unused = [names[int(number)] for number in numbers]
    more = f' and {len(unused) - 5} more' if len(unused) > 5 else ''
    return (
        f'{len(unused)} parameters of {type(model).__name__} got no gradient, for which the other processes would '
        f'wait: {", ".join(unused[:5])}{more}. Set find_unused_parameters=True in the config, at some cost, or leave '
        'these parts out'
    )


def _killed_worker(message: str, work_dir: str) -> str:
    return (
        f'{message.splitlines()[0].rstrip(". ")}: a process that loads data was ended from outside, by the system '
        'where memory ran out, or by hand. Fewer workers (num_workers) or smaller pictures need less; go on from the '
        f'last checkpoint in {work_dir} with --resume'
    )
