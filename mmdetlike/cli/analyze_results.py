"""Draw the images that a detector does best and worst on, ground truth on the left, predictions on the right.

RESULTS is what `mmdetlike test CONFIG CHECKPOINT --out RESULTS.pkl` wrote. An image is rated by its own average
precision of boxes, the mean over IoU 0.50:0.95 and over the classes that are annotated in it or found with
--show-score-thr or more.
"""

import argparse
from collections.abc import Sequence

from mmdetlike.cli.arguments import add_scored_data, check_positive
from mmdetlike.cli.foreign import config_file
from mmdetlike.utils.command import make_parser, user_path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add_scored_data(parser)
    parser.add_argument('out_dir', type=user_path, help='folder for good/, bad/ and images.csv, which rates all images')
    parser.add_argument('--topk', type=int, default=20, help='images of each kind to draw (default: 20)')
    parser.add_argument(
        '--show-score-thr', type=float, default=0.3, help='draw what scores this or more (default: 0.3)'
    )
    args = parser.parse_args(argv)
    check_positive(parser, args, ['topk'])
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Rate and draw what the command line describes."""
    args = parse_args(argv)
    args.config = config_file(args.config)
    from mmdetlike.cli.rated_images import analyze

    analyze(args)
