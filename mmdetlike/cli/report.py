"""Write a training as one HTML page: curves, metrics, what was found, data, speed, environment and config."""

import argparse

from mmdetlike.utils.command import make_parser, user_path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('work_dir', type=user_path, help='work folder of a training')
    parser.add_argument('--out', type=user_path, help='file to write (default: report.html in the work folder)')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Write the report."""
    args = parse_args(argv)
    from mmdetlike.engine.html_report import write_report

    print(f'written to {write_report(args.work_dir, args.out)}')
