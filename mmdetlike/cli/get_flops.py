"""Count the parameters, multiply-adds and activations of a detector, module by module.

Counted are convolutions, matrix products, attention and sampling operators; a multiply-add counts as one, as papers on
detectors count "FLOPs". A detector of two stages is counted with as many regions and masks as its config allows, unless
--data counts it on real pictures.

Example:
    mmdetlike get-flops faster-rcnn_r50_fpn_1x_coco --shape 800 1280
"""

import argparse
from collections.abc import Sequence

from mmdetlike.cli.arguments import check_positive
from mmdetlike.cli.foreign import checkpoint_file, config_file
from mmdetlike.utils.command import make_parser, user_path
from mmdetlike.utils.options import add_options


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('config', help='config file, name of a shipped config, detectron2://NAME or torchvision://NAME')
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        default=[800, 1280],
        metavar='SIDE',
        help='height and width of the image, or one number for both (default: 800 1280)',
    )
    parser.add_argument('--depth', type=int, default=2, help='levels of modules to list, 0 for the sum (default: 2)')
    parser.add_argument('--data', action='store_true', help="count on pictures of the config's test set")
    parser.add_argument('--number', type=int, default=10, help='pictures that --data takes (default: 10)')
    parser.add_argument('--checkpoint', help='with --data: weights, on which the number of objects depends')
    parser.add_argument('--out', type=user_path, help='write the table to this .json file, too')
    add_options(parser)
    args = parser.parse_args(argv)
    if len(args.shape) > 2 or min(args.shape) < 1:
        parser.error(f'--shape must be one or two positive numbers, got {" ".join(map(str, args.shape))}')
    check_positive(parser, args, ['number'])
    if args.depth < 0:
        parser.error(f'--depth must be at least 0, got {args.depth}')
    if args.checkpoint and not args.data:
        parser.error('--checkpoint changes nothing without --data')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Count what the command line describes."""
    args = parse_args(argv)
    args.checkpoint = checkpoint_file(args.checkpoint, args.config)
    args.config = config_file(args.config)
    from mmdetlike.cli.flop_table import count

    count(args)
