"""Look at a dataset as a whole: classes, sizes, shapes, overlaps, what is missing, and pictures that occur twice.

SOURCE is a config, whose train, validation and test sets are looked at, or one or several annotation files in the
format of COCO, each one a split. Prints tables and writes stats.json and a picture of each split.

Example:
    mmdetlike dataset-stats train.json val.json --images data/images --out-dir work_dirs/stats
"""

import argparse
from collections.abc import Sequence

from mmdetlike.utils.command import make_parser, user_path
from mmdetlike.utils.options import add_options


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('sources', nargs='+', metavar='SOURCE', help='a config, or .json files of annotations')
    parser.add_argument('--images', default='', help='folder of the pictures, for annotation files')
    parser.add_argument(
        '--out-dir', type=user_path, default='work_dirs/dataset_stats', help='folder to write (default: %(default)s)'
    )
    parser.add_argument('--no-hash', action='store_true', help='leave pictures unread: look for no duplicates')
    add_options(parser)
    args = parser.parse_args(argv)
    if len(args.sources) > 1 and not all(source.endswith('.json') for source in args.sources):
        parser.error('several sources must all be .json files of annotations')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Describe what the command line names."""
    args = parse_args(argv)
    from mmdetlike.cli.dataset_report import report

    report(args)
