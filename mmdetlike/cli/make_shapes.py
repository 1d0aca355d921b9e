"""Draw a data set of colored shapes to disk: PNG images and COCO annotations with boxes, masks and keypoints.

Example:
    mmdetlike make-shapes data/shapes --num-train 500 --num-val 100 --size 160
"""

import argparse
from collections.abc import Sequence

from mmdetlike.utils.command import make_parser, user_path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('out', type=user_path, help='folder to write: train/, val/ and annotations/')
    parser.add_argument('--num-train', type=int, default=500, help='pictures to train on (default: %(default)s)')
    parser.add_argument('--num-val', type=int, default=100, help='pictures to evaluate on (default: %(default)s)')
    parser.add_argument(
        '--size', type=int, nargs='+', default=[160], help='pixels: a side, or height and width (default: 160)'
    )
    parser.add_argument('--max-objects', type=int, default=6, help='most shapes in a picture (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='another seed draws other pictures (default: %(default)s)')
    args = parser.parse_args(argv)
    if min(args.num_train, args.num_val) < 0 or args.num_train == args.num_val == 0:
        parser.error(
            f'--num-train {args.num_train} and --num-val {args.num_val} are no numbers of pictures: give one at least'
        )
    if len(args.size) > 2:
        parser.error(f'--size takes one or two numbers, got {args.size}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Write the data set that the command line describes."""
    args = parse_args(argv)
    from mmdetlike.cli.shapes_writer import write_shapes

    write_shapes(args)
