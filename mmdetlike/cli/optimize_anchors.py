"""Fit the anchors of a config to the objects of its training set, and print the lines to change.

YOLOv3's anchors are found one by one; the ratios and scales of other detectors by differential evolution. The mean IoU
of the objects with their best anchor, both at one place, is told before and after.

Example:
    mmdetlike optimize-anchors yolov3_r18_shapes --algorithm k-means --input-shape 160 160
"""

import argparse
from collections.abc import Sequence

from mmdetlike.cli.foreign import config_file
from mmdetlike.utils.command import make_parser, user_path
from mmdetlike.utils.options import add_options

ALGORITHMS = ('k-means', 'differential_evolution')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('config', help='config file, name of a shipped config, detectron2://NAME or torchvision://NAME')
    parser.add_argument(
        '--input-shape',
        type=int,
        nargs=2,
        metavar=('WIDTH', 'HEIGHT'),
        help='what pictures are resized to; by default the scale in the test pipeline, if it has one',
    )
    parser.add_argument('--algorithm', choices=ALGORITHMS, help='by default k-means where anchors are single ones')
    parser.add_argument('--out', type=user_path, help='write the lines to this .py file, too')
    parser.add_argument('--seed', type=int, default=0, help='of the random start (default: 0)')
    add_options(parser)
    args = parser.parse_args(argv)
    if args.input_shape is not None and min(args.input_shape) < 1:
        parser.error(f'--input-shape must be two positive numbers, got {args.input_shape}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Print fitted anchors."""
    args = parse_args(argv)
    args.config = config_file(args.config)
    from mmdetlike.cli.anchor_fitting import optimize

    optimize(args)
