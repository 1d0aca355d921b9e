"""The config of a run, as a command line describes it."""

import argparse
import sys
from pathlib import Path

from mmengine.config import Config

from mmdetlike.utils.command import is_first_process
from mmdetlike.utils.config import load_config, require
from mmdetlike.utils.settings import check_settings, unread_options, unread_settings


def load_run_config(args: argparse.Namespace, *keys: str, without: tuple[str, ...] = ()) -> Config:
    """The config that the command line names, with its overrides, launcher and work folder.

    Options that have no effect are told here; of its other settings that nothing reads the Runner's log tells.

    Args:
        args: The command line, with the options of ``add_run_options``.
        keys: Top-level keys that the config must have.
        without: Top-level keys that this run has no use for; they are set to None.

    Raises:
        ConfigError: It can't be read, lacks a key, or has a wrong setting.
    """
    cfg = load_config(args.config, args.cfg_options)
    require(cfg, *keys)
    _warn(unread_options(cfg, args.cfg_options))
    cfg.launcher = args.launcher
    cfg.work_dir = str(args.work_dir or cfg.get('work_dir') or Path('work_dirs') / Path(args.config).stem)
    for key in without:
        cfg[key] = None
    check_settings(cfg)
    return cfg


def warn_of_unread_settings(cfg: Config, cfg_options: dict | None) -> None:
    """Print a line for each setting and option that nothing reads, for tools that have no Runner to log it."""
    _warn([*unread_options(cfg, cfg_options), *unread_settings(cfg)])


def _warn(sentences: list[str]) -> None:
    if is_first_process():
        for line in sentences:
            print('warning', line, sep=': ', file=sys.stderr)
