"""Evaluate a checkpoint, or write its predictions."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from mmdetlike.cli.foreign import checkpoint_file, config_file
from mmdetlike.errors import ConfigError
from mmdetlike.utils.checkpoint_files import check_is_file
from mmdetlike.utils.command import OPTIMIZATIONS, add_run_options, prepare_environment, quick_imports, say_start

OF_TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr')


def parse_args(argv=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, name of a shipped config, detectron2://NAME or torchvision://NAME')
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
    parser.add_argument(
        '--optimize', choices=OPTIMIZATIONS, help='make the model fast: folded batch norms, precision, compiled parts'
    )
    parser.add_argument('--tile', type=int, help='look at each picture in tiles of this edge length, and at the whole')
    parser.add_argument('--overlap', type=float, help='share of its edge by which tiles overlap (default: 0.2)')
    parser.add_argument('--merge', help='how objects of several tiles become one: nms (default), nmm or wbf')
    add_run_options(parser)
    args = parser.parse_args(argv)
    if args.tta and args.tile is not None:
        parser.error('--tile and --tta cannot be combined')
    if args.tile is None and (args.overlap is not None or args.merge is not None):
        parser.error('--overlap and --merge are for --tile')
    return args


def resolve(args: argparse.Namespace):
    """The config with the command line applied."""
    from mmdetlike.engine.resume import check_readable
    from mmdetlike.engine.test_time_aug import augment_test
    from mmdetlike.engine.tiled_test import tile_test
    from mmdetlike.utils.run_config import load_run_config

    cfg = load_run_config(args, 'model', 'test_dataloader', 'test_cfg', 'test_evaluator', without=OF_TRAINING)
    if args.tta:
        augment_test(cfg)
    if args.tile is not None:
        tile_test(cfg, args.tile, 0.2 if args.overlap is None else args.overlap, args.merge or 'nms')
    check_readable(args.checkpoint)
    cfg.load_from, cfg.resume = args.checkpoint, False
    if args.format_only:
        only_format(cfg)
    if args.out is not None:
        dump = dict(type='DumpDetResults', out_file_path=_checked_file(args.out))
        cfg.test_evaluator = _dumping(dump, cfg.test_evaluator)
    if args.show or args.show_dir:
        drawing = dict(type='DetVisualizationHook', draw=True, show=args.show, wait_time=args.wait_time)
        drawing['test_out_dir'] = args.show_dir
        cfg.default_hooks = dict(cfg.get('default_hooks') or {}, visualization=drawing)
    if args.optimize is not None:
        hook = dict(type='OptimizeHook', optimize=args.optimize)
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
    return cfg


def only_format(cfg) -> None:
    """Let the COCO metrics of a test write predictions and give no scores.

    Raises:
        ConfigError: There are none.
    """
    formatting = [(name, metric) for name, metric in _metrics(cfg.test_evaluator) if _is_coco_metric(metric)]
    if not formatting:
        raise ConfigError(f'--format-only needs a CocoMetric in test_evaluator, {cfg.filename} has none')
    for name, metric in formatting:
        metric['format_only'] = True
        metric.setdefault('outfile_prefix', str(Path(cfg.work_dir) / '_'.join(filter(None, ['predictions', name]))))


def _metrics(evaluator) -> Iterator[tuple[str, dict]]:
    """The config of each metric of an evaluator, with the name of the dataset if there are several."""
    if isinstance(evaluator, dict) and 'metrics' in evaluator:
        groups = evaluator['metrics']
        names = evaluator.get('dataset_prefixes', [''] * len(groups))
        for name, group in zip(names, groups):
            yield from ((name, metric) for _, metric in _metrics(group))
    elif isinstance(evaluator, dict):
        yield '', evaluator
    else:
        for metric in evaluator:
            yield from _metrics(metric)


def _dumping(dump: dict, evaluator) -> dict:
    """The config of an evaluator that also writes predictions."""
    if isinstance(evaluator, dict) and 'metrics' in evaluator:
        return dict(type='DumpFirstEvaluator', metrics=[dump], evaluator=dict(dict(type='Evaluator'), **evaluator))
    metrics = evaluator if isinstance(evaluator, list) else [evaluator]
    return dict(type='DumpFirstEvaluator', metrics=[dump, *metrics])


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
        from mmdetlike.utils.memory import keep_freed_memory

    keep_freed_memory()  # images of a test are about of one size: the next needs what the last has freed
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
