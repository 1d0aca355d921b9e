"""Write a training as one HTML page: curves, metrics, what was found, data, speed, environment and config.

What was found is in the folder of a training that came to its end. For one that was stopped, or for other weights of
it, give the predictions that `mmdetlike test CONFIG CHECKPOINT --out RESULTS.pkl` writes.

Examples:
    mmdetlike report work_dirs/mine
    mmdetlike report work_dirs/mine --results results.pkl
"""

import argparse

from mmdetlike.utils.command import make_parser, user_path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('work_dir', type=user_path, help='work folder of a training')
    parser.add_argument('--out', type=user_path, help='file to write (default: report.html in the work folder)')
    parser.add_argument('--results', type=user_path, help='file of predictions, .pkl, in place of the last validation')
    parser.add_argument('--split', choices=('test', 'val'), default='test', help='dataset of --results (default: test)')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='with --results, score from which on something counts as found'
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Write the report."""
    args = parse_args(argv)
    from mmdetlike.engine.html_report import newest_scalars, write_report

    if args.results is not None:
        from mmdetlike.cli.found import write_found

        write_found(newest_scalars(args.work_dir).parent / 'config.py', args.results, args.split, args.score_thr)
    print(f'written to {write_report(args.work_dir, args.out)}')
