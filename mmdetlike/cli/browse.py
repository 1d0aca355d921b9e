"""Draw what a dataset yields, with its ground truth: look at your data before training on it."""

import argparse

from mmdetlike.cli.arguments import check_positive
from mmdetlike.cli.foreign import config_file
from mmdetlike.utils.command import make_parser, user_path
from mmdetlike.utils.options import add_options


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--output-dir', type=user_path, help='by default WORK_DIR/browse_SPLIT')
    parser.add_argument('--not-show', action='store_true', help='write pictures only, open no window')
    parser.add_argument('--show-interval', type=float, default=2, help='seconds for which a window stays (default: 2)')
    parser.add_argument('--split', choices=('train', 'val', 'test'), default='train')
    parser.add_argument(
        '--mode',
        choices=('original', 'transformed', 'concat', 'pipeline'),
        default='transformed',
        help='what is on disk, what the pipeline makes of it (default), both side by side, or the picture after each '
        'transform of it; mixing transforms of dataset wrappers are applied in "transformed" and "concat" only',
    )
    parser.add_argument('--number', type=int, help='draw this many samples; by default all')
    add_options(parser)
    args = parser.parse_args(argv)
    check_positive(parser, args, ['number'])
    return args


def main(argv: list[str] | None = None) -> None:
    """Draw what the command line describes."""
    args = parse_args(argv)
    args.config = config_file(args.config)
    from mmdetlike.cli.browsing import browse

    browse(args)
