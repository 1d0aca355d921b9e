"""Evaluate a checkpoint, or write its predictions."""

import argparse
from pathlib import Path

from mmdetlike.cli.foreign import checkpoint_file, config_file
from mmdetlike.errors import ConfigError
from mmdetlike.utils.checkpoint_files import check_is_file
from mmdetlike.utils.command import add_run_options, prepare_environment, quick_imports, say_start

OF_TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr')


def parse_args(argv=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, or name of a shipped config')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--out', help='write all predictions to this .pkl file, even if scores cannot be computed')
    parser.add_argument('--show', action='store_true', help='show each prediction in a window')
    parser.add_argument('--show-dir', help='write each prediction as a picture to this folder of the run')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds for which --show shows a picture')
    parser.add_argument(
        '--format-only', action='store_true', help='write predictions in the format of the benchmark, without scores'
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help='test on versions of each image, by tta_pipeline and tta_model',
    )
    add_run_options(parser)
    return parser.parse_args(argv)


def resolve(args: argparse.Namespace):
    """The config with the command line applied."""
    from mmdetlike.engine.resume import check_readable
    from mmdetlike.engine.test_time_aug import augment_test
    from mmdetlike.utils.run_config import load_run_config

    cfg = load_run_config(args, 'model', 'test_dataloader', 'test_cfg', 'test_evaluator', without=OF_TRAINING)
    if args.tta:
        augment_test(cfg)
    check_readable(args.checkpoint)
    cfg.load_from, cfg.resume = args.checkpoint, False
    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    if args.format_only:
        formatting = [evaluator for evaluator in evaluators if _is_coco_metric(evaluator)]
        if not formatting:
            raise ConfigError(f'--format-only needs a CocoMetric in test_evaluator, {args.config} has none')
        for evaluator in formatting:
            evaluator['format_only'] = True
            evaluator.setdefault('outfile_prefix', str(Path(cfg.work_dir) / 'predictions'))
    cfg.test_evaluator = evaluators
    if args.out is not None:
        dump = dict(type='DumpDetResults', out_file_path=_checked_file(args.out))
        cfg.test_evaluator = dict(type='DumpFirstEvaluator', metrics=[dump, *evaluators])
    if args.show or args.show_dir:
        drawing = dict(type='DetVisualizationHook', draw=True, show=args.show, wait_time=args.wait_time)
        drawing['test_out_dir'] = args.show_dir
        cfg.default_hooks = dict(cfg.get('default_hooks') or {}, visualization=drawing)
    return cfg


def _is_coco_metric(evaluator: dict) -> bool:
    kind = evaluator['type']
    return getattr(kind, '__name__', str(kind)).endswith('CocoMetric')


def _checked_file(out: str) -> str:
    """The path of a file to write, once it is clear that it can be."""
    from mmdetlike.utils.outputs import check_folder

    path = Path(out).expanduser()
    if path.suffix not in ('.pkl', '.pickle'):
        raise ConfigError(f'--out must be a .pkl file, got {out}')
    if path.is_dir():
        raise ConfigError(f'--out must be a .pkl file, {out} is a folder')
    check_folder(path.parent)
    return str(path)


def main(argv=None) -> None:
    """Test."""
    args = parse_args(argv)
    given = args.config
    args.config = config_file(given)
    check_is_file(args.checkpoint)
    args.checkpoint = checkpoint_file(args.checkpoint, given)
    prepare_environment(args)
    say_start(f'testing {args.checkpoint} by {args.config}')
    with quick_imports():
        from mmdetlike.engine import launch
        from mmdetlike.engine.stopping import stoppable
        from mmdetlike.utils.checkpoint import trust_checkpoints

    with trust_checkpoints(args.trust_checkpoint):
        cfg = resolve(args)
        with stoppable(lambda: _saved_predictions(args.out)):
            launch(cfg, 'test')


def _saved_predictions(out: str | None) -> str:
    """What a test that is stopped now has left."""
    if out is None:
        return 'there are no scores'
    path = Path(out).expanduser()
    partial = sorted(path.parent.glob(f'{path.stem}.partial*{path.suffix}'))
    if not partial:
        return 'there are no scores, and no predictions had been made'
    return f'there are no scores; the predictions made before are in {", ".join(map(str, partial))}'
