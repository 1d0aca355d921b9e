"""Split a COCO file into a labeled and an unlabeled part, for training from few labels.

For each fold and percentage two files are written, NAME.FOLD@PERCENT.json with some of the images and all that is
annotated in them, and NAME.FOLD@PERCENT-unlabeled.json with the other images alone. The images of a fold are drawn at
random, the same ones whenever this is run.

Example:
    mmdetlike split-coco data/coco/annotations/instances_train2017.json data/coco/semi_anns
"""

import argparse
from collections.abc import Sequence

from mmdetlike.cli.arguments import check_positive
from mmdetlike.utils.command import make_parser, user_path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('ann_file', type=user_path, help='the COCO file')
    parser.add_argument('out_dir', type=user_path, help='folder to write the parts to')
    parser.add_argument(
        '--labeled-percent',
        type=float,
        nargs='+',
        default=[1, 2, 5, 10],
        help='how much is labeled, one or more (default: %(default)s)',
    )
    parser.add_argument('--fold', type=int, default=5, help='how many drawings of each (default: %(default)s)')
    args = parser.parse_args(argv)
    check_positive(parser, args, ['fold'])
    wrong = [percent for percent in args.labeled_percent if not 0 < percent < 100]
    if wrong:
        parser.error(f'--labeled-percent must be between 0 and 100, got {wrong[0]:g}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Write the files that the command line describes."""
    args = parse_args(argv)
    from mmdetlike.cli.coco_split import write_parts

    write_parts(args)
