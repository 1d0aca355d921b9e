"""What the command-line tools share.

Nothing heavy is imported here: help, and a sentence about a wrong path, come at once.
"""

import argparse
import contextlib
import gc
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from mmdetlike.utils.failures import sentence
from mmdetlike.utils.imports import resting_collector
from mmdetlike.utils.options import add_options

DEBUG_OPTION = '--debug'
DEBUG_VARIABLE = 'MMDETLIKE_DEBUG'
OPTIMIZATIONS = ('fp32', 'bf16', 'fp16', 'compile')  # choices of optimize_model, which imports torch
INTERRUPTED = 130  # the status that shells give to a process stopped by Ctrl-C


def make_parser(description: str | None, **settings) -> argparse.ArgumentParser:
    """The parser of a tool, with the option that ``run_tool`` reads.

    Args:
        description: The tool's docstring.
        settings: Further arguments of ``argparse.ArgumentParser``.
    """
    formatter = settings.pop('formatter_class', argparse.RawDescriptionHelpFormatter)
    parser = argparse.ArgumentParser(description=description, formatter_class=formatter, **settings)
    add_debug_option(parser)
    return parser


def add_debug_option(parser: argparse.ArgumentParser) -> None:
    """Declare the option that ``run_tool`` reads, for the help."""
    parser.add_argument(DEBUG_OPTION, action='store_true', help='show the traceback of an error')


def user_path(text: str) -> Path:
    """A path of the command line, ``~`` expanded."""
    return Path(text).expanduser()


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Options of every tool that runs a model, ``--debug`` among them."""
    parser.add_argument(
        '--work-dir', type=os.path.expanduser, help='folder for logs and checkpoints (default: work_dirs/CONFIG_NAME)'
    )
    add_options(parser)
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='who starts the processes'
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read checkpoints that hold more than tensors and plain data; this runs code of their author',
    )
    add_debug_option(parser)
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def prepare_environment(args: argparse.Namespace) -> None:
    """Tell this process its number on the machine, where the launcher did so on the command line."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))


def say_start(what: str) -> None:
    """Say what begins, before the imports that take seconds."""
    if is_first_process():
        print(f'{what}: importing torch and the toolbox', flush=True)


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Within this context the garbage collector rests, and afterwards it leaves what was imported alone.

    Importing torch makes a million objects that stay; looking through them is a tenth of the time until a training's
    first iteration, and is done again in each loading process, which gets a copy of all that it touches.
    """
    if 'torch' in sys.modules or not gc.isenabled():
        yield
        return
    with resting_collector():
        yield
        gc.freeze()


def is_first_process() -> bool:
    """Whether messages are this process's to print."""
    return os.environ.get('RANK', os.environ.get('LOCAL_RANK', '0')) in ('', '0')


def run_tool(main: Callable[[], None], when_interrupted: str = '') -> None:
    """Run a tool's ``main``; whatever goes wrong ends it with one sentence and status 2.

    ``--debug`` on the command line, or MMDETLIKE_DEBUG=1, shows the traceback instead.

    Args:
        main: Reads ``sys.argv``.
        when_interrupted: What to tell who stops it by Ctrl-C.
    """
    if DEBUG_OPTION in sys.argv[1:]:
        sys.argv.remove(DEBUG_OPTION)
        os.environ[DEBUG_VARIABLE] = '1'  # for the processes that it starts, too
    _write_utf8()
    try:
        main()
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get(DEBUG_VARIABLE, '0') not in ('', '0'):
            raise
        if isinstance(error, KeyboardInterrupt):
            print('interrupted', when_interrupted, sep='; ' if when_interrupted else '', file=sys.stderr)
            sys.exit(INTERRUPTED)
        print(sentence(error), file=sys.stderr)
        sys.exit(2)


def _write_utf8() -> None:
    """Write UTF-8 whatever the locale, since in an ASCII one printing the name of a class could end a run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding='utf-8', errors='backslashreplace')
