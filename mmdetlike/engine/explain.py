"""What torch says about a training that can't go on, in words that help."""

import contextlib
import re
from collections.abc import Iterator

from mmdetlike.errors import ConfigError, UserError


class WorkerKilledError(UserError, RuntimeError):
    """A process that loads data ended before its time."""


@contextlib.contextmanager
def explained(runner) -> Iterator[None]:
    """Explain errors of a training.

    Raises:
        ConfigError: Torch's distributed wrapper waited for parameters in vain; the message names them.
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
        raise


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
