"""Take the errors of a detector apart: COCO's seven precision-recall curves, and TIDE's kinds of error.

RESULTS is a file of detections in the format of COCO, as `mmdetlike test --format-only` writes it. OUT gets a picture
of the curves of each class and of their mean (all, small, medium and large objects), tide.png, and errors.json.
"""

import argparse
from collections.abc import Sequence

from mmdetlike.utils.command import make_parser, user_path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('results', type=user_path, help='detections, .json')
    parser.add_argument('out_dir', type=user_path, help='folder for pictures and errors.json')
    parser.add_argument('--ann', type=user_path, required=True, help='annotation file in the format of COCO')
    parser.add_argument('--type', choices=('bbox', 'segm'), default='bbox', help='overlap of what (default: bbox)')
    parser.add_argument('--no-curves', action='store_true', help='draw no picture for each class, only their mean')
    args = parser.parse_args(argv)
    for path in (args.results, args.ann):
        if not path.is_file():
            parser.error(f'{path} is a folder, not a file' if path.is_dir() else f'no such file: {path}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Write what the command line describes."""
    args = parse_args(argv)
    from mmdetlike.cli.error_curves import analyze

    analyze(args)
