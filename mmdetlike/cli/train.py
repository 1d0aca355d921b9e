"""Train a detector from a config."""

import argparse
import time

from mmdetlike.cli.foreign import checkpoint_file, config_file
from mmdetlike.errors import ConfigError
from mmdetlike.utils.checkpoint_files import check_is_file
from mmdetlike.utils.command import add_run_options, prepare_environment, quick_imports, say_start


def parse_args(argv=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, name of a shipped config, detectron2://NAME or torchvision://NAME')
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision: bfloat16 on CPUs that have it, float16 on CUDA'
    )
    parser.add_argument('--amp-dtype', choices=['float16', 'bfloat16'], help='precision of --amp')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size (auto_scale_lr)'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from this checkpoint, or from the newest one in the work folder',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='start anew in a work folder with checkpoints of an earlier training, which are removed',
    )
    parser.add_argument('--no-report', action='store_true', help='write no report.html at the end')
    add_run_options(parser)
    return parser.parse_args(argv)


def resolve(args: argparse.Namespace):
    """The config with the command line applied."""
    from mmdetlike.utils.run_config import load_run_config

    cfg = load_run_config(args, 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper')
    if args.amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        if args.amp_dtype:
            cfg.optim_wrapper.dtype = args.amp_dtype
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ConfigError(f'--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in {args.config}')
        cfg.auto_scale_lr.enable = True
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    if args.overwrite:
        if args.resume is not None:
            raise ConfigError('--resume goes on from checkpoints that --overwrite would remove: give one of the two')
        cfg.overwrite = True
    if args.no_report:
        leave_out_report(cfg)
    return cfg


def leave_out_report(cfg) -> None:
    """Let a config write no HTML page at the end; it is changed."""
    hooks = list(cfg.get('custom_hooks') or [])
    reports = [hook for hook in hooks if str(hook.get('type')).rsplit('.', 1)[-1] == 'ReportHook']
    for hook in reports:
        hook.html = False
    # the runner adds one with its default settings where there is none
    cfg.custom_hooks = hooks if reports else [*hooks, dict(type='ReportHook', html=False)]


def check_speed_of_half() -> None:
    """Refuse mixed precision on a CPU that it makes slower."""
    import torch

    from mmdetlike.engine.half_speed import check_half_training

    if not torch.cuda.is_available():
        check_half_training()


def main(argv=None) -> None:
    """Train."""
    args = parse_args(argv)
    given = args.config
    args.config = config_file(given)
    if args.resume not in (None, 'auto'):
        check_is_file(args.resume)
    prepare_environment(args)
    start = time.time()
    say_start(f'training {args.config}')
    with quick_imports():
        from mmdetlike.engine import launch
        from mmdetlike.engine.resume import check_readable
        from mmdetlike.engine.stopping import saved_training, stoppable
        from mmdetlike.utils.checkpoint import trust_checkpoints
        from mmdetlike.utils.memory import keep_freed_memory

    keep_freed_memory()  # each step needs what the last has freed
    with trust_checkpoints(args.trust_checkpoint):
        cfg = resolve(args)
        # beside the copy of the config, which names it
        cfg.load_from = checkpoint_file(cfg.get('load_from'), given, cfg.work_dir)
        check_readable(cfg.load_from)
        if args.amp:
            check_speed_of_half()
        with stoppable(lambda: saved_training(cfg, start)):
            launch(cfg, 'train')
