"""Plot curves from logs of training, or measure its speed. LOG is the scalars.json (or <time>.json) of a run."""

import argparse

from mmdetlike.utils.command import make_parser, user_path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    tasks = parser.add_subparsers(dest='task', required=True)
    curve = tasks.add_parser('plot_curve', help='draw curves into a picture')
    curve.add_argument('json_logs', type=user_path, nargs='+', metavar='LOG')
    curve.add_argument('--keys', nargs='+', help='what to draw, e.g. loss coco/bbox_mAP; by default an overview')
    curve.add_argument('--title', default='', help='title of the figure')
    curve.add_argument('--legend', nargs='+', help='names of the curves: log after log, for each its keys')
    curve.add_argument('--out', type=user_path, help='file to write; by default curves.png beside the first log')
    time = tasks.add_parser('cal_train_time', help='print how long an iteration takes')
    time.add_argument('json_logs', type=user_path, nargs='+', metavar='LOG')
    time.add_argument('--include-outliers', action='store_true', help='count the first value of each epoch as well')
    args = parser.parse_args(argv)
    for path in args.json_logs:
        if not path.is_file():
            parser.error(f'{path} is a folder, not a log' if path.is_dir() else f'no such file: {path}')
    return args


def main(argv: list[str] | None = None) -> None:
    """Do what the command line describes."""
    args = parse_args(argv)
    from mmdetlike.cli.log_curves import analyze

    analyze(args)
