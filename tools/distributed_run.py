"""torchrun without its reports and tracebacks, as each process prints its own sentence about what was wrong.

What dist_train.sh and dist_test.sh start: distributed_run.py [options of torchrun] SCRIPT [arguments of the script]
"""

import sys

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run

BY_SIGNAL = 128  # plus its number: the status that shells give to a process that a signal has ended


def main(argv: list[str]) -> int:
    """Run a script in several processes.

    Args:
        argv: The command line of torchrun.

    Returns:
        The status of the process that failed first, that of the signal which has ended it or all of them, or 0.
    """
    try:
        run(parse_args(argv))
    except SignalException as stop:
        return BY_SIGNAL + stop.sigval
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode >= 0:
            return failure.exitcode
        print(f'process {rank} was ended by signal {-failure.exitcode}', file=sys.stderr)
        return BY_SIGNAL - failure.exitcode
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
