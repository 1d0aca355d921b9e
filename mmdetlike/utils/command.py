"""What the command-line tools share."""

import argparse
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config, DictAction

from mmdetlike.errors import ConfigError, UserError
from mmdetlike.utils.checkpoint import TRUST_VARIABLE
from mmdetlike.utils.config import load_config, require

# Mistakes of the user's that need a sentence, not a traceback.
USER_ERRORS = (UserError, FileNotFoundError, NotADirectoryError)
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Options of every tool that runs a model."""
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/CONFIG_NAME)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='overrides of the config, e.g. optim_wrapper.optimizer.lr=0.01 train_dataloader.batch_size=4',
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='who starts the processes'
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read checkpoints that hold more than tensors and plain data; this runs code of their author',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def prepare_environment(args: argparse.Namespace) -> None:
    """Hand what the launcher and the user said to the processes that follow."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.trust_checkpoint:
        os.environ[TRUST_VARIABLE] = '1'


def load_run_config(args: argparse.Namespace, *keys: str) -> Config:
    """The config that the command line names, with its overrides, launcher and work folder.

    Args:
        args: The command line, with the options of ``add_run_options``.
        keys: Top-level keys that the config must have.

    Raises:
        ConfigError: It can't be read, or lacks a key.
    """
    cfg = load_config(args.config, args.cfg_options)
    require(cfg, *keys)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(args.config).stem)
    return cfg


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool; a mistake of the user's ends it with one sentence and status 2."""
    try:
        main()
    except (*USER_ERRORS, OSError) as error:
        expected = isinstance(error, USER_ERRORS) or error.errno in FULL_DISK
        if os.environ.get('MMDETLIKE_DEBUG') or not expected:
            raise
        print('error' if isinstance(error, ConfigError) else type(error).__name__, error, sep=': ', file=sys.stderr)
        sys.exit(2)
